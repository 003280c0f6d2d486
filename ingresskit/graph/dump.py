"""The graph as JSON values: for goldens, digests, the admin API and dry runs."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, assert_never, cast

from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.match import PathMatch
from ingresskit.graph.nodes import (
    Action,
    Backend,
    Certificate,
    Close,
    Forward,
    Redirect,
    Respond,
    Route,
    StreamRoute,
    Unserved,
    VirtualHost,
)
from ingresskit.graph.paths import DEFAULT_PATHS, PathOptions
from ingresskit.policies import (
    NATIVE_ORDER,
    AnyValue,
    Condition,
    CookieCondition,
    ExactValue,
    HeaderCondition,
    KeptTarget,
    MethodCondition,
    Origin,
    PatternValue,
    Policy,
    PolicySet,
    QueryCondition,
    Selection,
    ValueMatch,
)

__all__ = ["HIDDEN", "digest", "dump", "dump_route", "to_json"]

HIDDEN: Final = "[hidden]"
"""Stands in the place of a value that may be a credential."""

_MOST_SHOWN = 64


def dump(graph: RouteGraph) -> dict[str, object]:
    """The graph as JSON values, in its own order: equal graphs give equal values.

    Holds no key material: certificates appear by digest. `HIDDEN` stands for the values of fields whose
    annotation is `secret`, such as header fields, whose names stay.
    """
    return _graph(graph, hide=True)


def to_json(graph: RouteGraph) -> bytes:
    """`dump` as bytes: equal graphs give equal bytes. UTF-8, indented by 2, sorted."""
    return json.dumps(dump(graph), indent=2, sort_keys=True).encode() + b"\n"


def digest(graph: RouteGraph) -> str:
    """SHA-256 over all that `dump` shows and hides, lower-case hexadecimal: different graphs differ."""
    return hashlib.sha256(json.dumps(_graph(graph, hide=False), sort_keys=True).encode()).hexdigest()


def _graph(graph: RouteGraph, *, hide: bool) -> dict[str, object]:
    default = graph.default_certificate
    return {
        "virtualHosts": [_virtual_host(host, {}, hide=hide) for host in graph.virtual_hosts],
        "backends": {str(key): _backend(backend, hide=hide) for key, backend in graph.backends.items()},
        "certificates": {str(key): _certificate(item) for key, item in graph.certificates.items()},
        "serverNames": {name: None if key is None else str(key) for name, key in graph.server_names.items()},
        "defaultCertificate": None if default is None else str(default),
        **({"ports": _ports(graph, hide=hide)} if graph.ports else {}),
        "hostFallthrough": graph.host_fallthrough,
        **_paths(graph.paths),
        "unserved": [_unserved(item) for item in graph.unserved],
    }


def _ports(graph: RouteGraph, *, hide: bool) -> dict[str, object]:
    return {str(port): _stream(stream, hide=hide) for port, stream in graph.ports.items()}


def _paths(options: PathOptions) -> dict[str, object]:
    """Said only where an operator decided otherwise."""
    if options == DEFAULT_PATHS:
        return {}
    return {"paths": {"mergeSlashes": options.merge_slashes, "strict": options.strict}}


def dump_route(route: Route) -> dict[str, object]:
    """One route as JSON values; what may be a credential is `HIDDEN`."""
    return _route(route, {}, hide=True)


def _route(route: Route, shown: dict[PolicySet, dict[str, object]], *, hide: bool) -> dict[str, object]:
    """One route; *shown* remembers policies, which all paths of an Ingress share."""
    policies = shown.get(route.policies)
    if policies is None:
        policies = shown[route.policies] = _policies(route.policies, hide=hide)
    return {
        "match": _match(route.match),
        **_selection(route.selection),
        "action": _action(route.action),
        "origin": _origin(route.origin),
        "policies": policies,
        "fallback": route.fallback,
        **({"written": route.written} if route.written else {}),
        **({"order": list(route.order.stages)} if route.order != NATIVE_ORDER else {}),
    }


def _match(match: PathMatch) -> dict[str, object]:
    wide = {"hostWide": True} if match.host_wide else {}
    return {"type": str(match.kind), "path": match.value, **wide}


def _selection(selection: Selection) -> dict[str, object]:
    """Only of variants: all other routes are dumped without these fields."""
    found: dict[str, object] = {}
    if selection.conditions:
        found["conditions"] = [_condition(item) for item in selection.conditions]
    if (share := selection.share) is not None:
        found["share"] = {"weight": share.weight, "total": share.total}
    return found


def _condition(condition: Condition) -> dict[str, object]:
    negated = {"negated": True} if condition.negated else {}
    match condition:
        case HeaderCondition():
            return {"header": condition.name, **_value(condition.value), **negated}
        case CookieCondition():
            return {"cookie": condition.name, **_value(condition.value), **negated}
        case QueryCondition():
            return {"query": condition.name, **_value(condition.value), **negated}
        case MethodCondition():
            return {"method": condition.method, **negated}
        case _:
            assert_never(condition)


def _value(value: ValueMatch) -> dict[str, object]:
    match value:
        case ExactValue():
            return {"exact": value.text}
        case AnyValue():
            return {"present": True}
        case PatternValue():
            return {"regex": value.pattern.text}
        case _:
            assert_never(value)


def _virtual_host(
    host: VirtualHost, shown: dict[PolicySet, dict[str, object]], *, hide: bool
) -> dict[str, object]:
    return {
        "host": host.host,
        "tls": host.tls,
        "owner": host.owner,
        "routes": [_route(route, shown, hide=hide) for route in host.routes],
        **_scoped(host.policies, hide=hide),
        **({} if host.stream is None else {"stream": _stream(host.stream, hide=hide)}),
    }


def _stream(stream: StreamRoute, *, hide: bool) -> dict[str, object]:
    action = stream.action
    match action:
        case Forward():
            shown = _action(action)
        case Close():
            shown = {"close": {"reason": _json(action.reason), "message": action.message}}
        case _:
            assert_never(action)
    proxy = {"acceptsProxy": stream.accepts_proxy, "sendsProxy": stream.sends_proxy}
    return {
        "action": shown,
        "origin": _origin(stream.origin),
        **{name: True for name, on in proxy.items() if on},
        **_scoped(stream.policies, hide=hide),
    }


def _action(action: Action) -> dict[str, object]:
    match action:
        case Forward():
            shares = [{"backend": str(backend.key), "weight": backend.weight} for backend in action.backends]
            beside = {"fallback": action.fallback, "pages": action.pages, "mirror": action.mirror}
            shown = {name: str(key) for name, key in beside.items() if key is not None}
            return {"forward": shares, **shown}
        case Redirect():
            kept = {} if action.keeps is KeptTarget.NOTHING else {"keeps": str(action.keeps)}
            return {"redirect": {"location": action.location, "status": action.status, **kept}}
        case Respond():
            return {
                "respond": {"status": action.status, "reason": _json(action.reason), "message": action.message}
            }
        case _:
            assert_never(action)


def _scoped(policies: PolicySet, *, hide: bool) -> dict[str, object]:
    """Policies of a host or backend: most have none, and are dumped without the field."""
    return {"policies": _policies(policies, hide=hide)} if policies else {}


def _backend(backend: Backend, *, hide: bool) -> dict[str, object]:
    endpoints = [
        {"address": item.address, "port": item.port, "zone": item.zone, "draining": item.draining}
        for item in backend.endpoints
    ]
    return {
        "protocol": str(backend.protocol),
        "endpoints": endpoints,
        "note": backend.note,
        **_scoped(backend.policies, hide=hide),
    }


def _certificate(certificate: Certificate) -> dict[str, object]:
    return {
        "digest": certificate.digest,
        "names": list(certificate.names),
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
    }


def _unserved(item: Unserved) -> dict[str, object]:
    return {
        "origin": _origin(item.origin),
        "host": item.host,
        "path": item.path,
        "reason": item.reason,
        "message": item.message,
        "winner": None if item.winner is None else str(item.winner),
    }


def _origin(origin: Origin) -> dict[str, object]:
    return {"object": str(origin.subject), "field": origin.field}


def _policies(policies: PolicySet, *, hide: bool) -> dict[str, object]:
    return {
        type(policy).__name__: {
            "values": _policy(policy, hide=hide),
            "origins": {name: _origin(origin) for name, origin in policies.origins(type(policy)).items()},
        }
        for policy in policies
    }


def _policy(policy: Policy, *, hide: bool) -> dict[str, object]:
    annotations = type(policy).annotations()
    secret = {name for name, annotation in annotations.items() if hide and annotation.secret}
    return {
        item.name: _json(_hidden(value) if item.name in secret else value)
        for item in fields(policy)
        for value in (cast(object, getattr(policy, item.name)),)
    }


def _hidden(value: object) -> object:
    """*value* without what may be a credential: of header fields the names stay."""
    match value:
        case None:
            return None
        case (str() as name, str()):
            return (name, HIDDEN)
        case tuple():
            return tuple(_hidden(item) for item in cast("tuple[object, ...]", value))
        case _:
            return HIDDEN


def _shortened(items: Sequence[object]) -> dict[str, object]:
    """A long list by its beginning and its digest: ten thousand routes may hold the same one."""
    text = json.dumps([_json(item) for item in items])
    return {
        "first": [_json(item) for item in items[:_MOST_SHOWN]],
        "count": len(items),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _json(value: object) -> object:
    match value:
        case Enum():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case timedelta():
            whole, rest = divmod(value, timedelta(milliseconds=1))
            return f"{value / timedelta(milliseconds=1)}ms" if rest else f"{whole}ms"
        case datetime():
            return value.isoformat()
        case ipaddress.IPv4Network() | ipaddress.IPv6Network():
            return str(value)
        case tuple() | list():
            items = cast("tuple[object, ...] | list[object]", value)
            if len(items) > _MOST_SHOWN:
                return _shortened(items)
            return [_json(item) for item in items]
        case frozenset():
            # A set has no order of its own, and the one it shows differs from process to process.
            return sorted((_json(item) for item in cast("frozenset[object]", value)), key=repr)
        case dict():
            return {str(key): _json(item) for key, item in cast("dict[object, object]", value).items()}
        case _:
            return repr(value)
