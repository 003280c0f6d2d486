"""Rows of the dynamic mode: what the Lua program serves, as JSON.

Nothing of a graph ever becomes a part of the program's text: it is data in these rows, and the keys are
hosts in normal form, and hashes. `lua/ingresskit/router.lua` and `backends.lua` read them. Members that say
the default are left out, since a cluster has many rows.

The row of a host: ``host`` is its rule host; ``exact`` has exact paths and ``prefixes`` prefixes (without
trailing slash), each with a place in ``targets``, counted from 1; ``longest`` is the length of the longest
prefix (-1: there is none).

A target has ``backends``, each ``[id, weight]``; without them one of its guards responds to every request.
``guards``, ``request`` and ``response`` are lists of ``[name, argument]``: functions of
``lua/ingresskit/policies/`` in the order in which they run. ``upstream`` has ``connect``, ``read`` and ``send``
in seconds, and ``retries`` beyond the first try.

Hosts with variants or regular expressions have ``mixed`` too, and targets with ``variants``: see
`ingresskit.render.nginx.dynamic.selections`.

The row of a backend: ``endpoints``, each ``[address, port]``; ``secure``: it speaks TLS; ``grpc``: it speaks
gRPC; ``balance``: how an endpoint is chosen, an algorithm; ``hash``: what is hashed, each ``[source, name]``,
with ``subset``. That of the delegate has ``delegate``, and as its endpoint ``["unix:PATH"]``.
The row of a certificate: ``chain`` and ``key``, both PEM.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import Final, assert_never

from ingresskit.graph import (
    Backend,
    BackendKey,
    Certificate,
    Forward,
    PathKind,
    PathMatch,
    Route,
    VirtualHost,
    redirects_to_tls,
    refuses_plain_http,
    solves_http01,
)
from ingresskit.policies import ClientCertificates, Pattern, PrefixRewrite, RegexRewrite, Stage, TlsRedirect
from ingresskit.render.addresses import is_address
from ingresskit.render.cookie_path import cookie_path
from ingresskit.render.delegate import DELEGATE, Handover
from ingresskit.render.nginx.dynamic.selections import is_mixed, mixed_members, variants_target
from ingresskit.render.nginx.policies import (
    DYNAMIC_HANDLERS,
    DynamicDraft,
    add_dynamic_action,
    add_dynamic_plain_http,
    add_dynamic_tls_redirect,
)
from ingresskit.render.nginx.policies.certificates import add_dynamic_certificate

__all__ = ["backend_id", "backend_row", "certificate_row", "host_row", "to_json"]

_NO_MEMBERS: Final[Mapping[str, object]] = MappingProxyType({})


def to_json(value: object) -> bytes:
    """*value* as canonical JSON: ASCII, sorted keys, no spaces, and so no tab and no line end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


@lru_cache(maxsize=65536)
def backend_id(key: BackendKey) -> str:
    """A short name for a backend, which reveals nothing: 20 hexadecimal digits."""
    text = "\0".join(key.parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def host_row(host: VirtualHost) -> bytes:
    """The row of a virtual host."""
    targets = _Targets(host)
    exact: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    patterns: list[tuple[PathMatch, int]] = []
    # Routes of one path stand beside each other.
    for match, routes in groupby(host.routes, key=lambda route: route.match):
        place = targets.place(tuple(routes))
        match match.kind:
            case PathKind.EXACT:
                exact[match.value] = place
            case PathKind.PREFIX:
                prefixes[match.elements] = place
            case PathKind.REGEX:
                patterns.append((match, place))
            case _:
                assert_never(match.kind)
    lengths = (*map(len, prefixes), *(len(match.elements) for match, _ in patterns))
    row: dict[str, object] = {
        "host": host.host,
        "exact": exact,
        "prefixes": prefixes,
        "longest": max(lengths, default=-1),
        "targets": targets.written,
    }
    if is_mixed(host.routes):
        row["mixed"] = mixed_members(patterns)
    return to_json(row)


class _Targets:
    """The targets of a host, each once."""

    def __init__(self, host: VirtualHost) -> None:
        self.written: list[dict[str, object]] = []
        self._drafts = _Drafts(host)
        self._places: dict[bytes, int] = {}

    def place(self, routes: tuple[Route, ...]) -> int:
        """Where the target of the routes for a path stands, from 1."""
        places = [self._place(self._target(route)) for route in routes]
        if len(routes) == 1 and not routes[0].selection:
            return places[0]
        return self._place(variants_target(routes, places))

    def _target(self, route: Route) -> dict[str, object]:
        target = dict(self._drafts.members(route))
        if isinstance(route.action, Forward):
            target["backends"] = [[backend_id(key), weight] for key, weight in route.action.backends]
            if any(key.policies for key, _ in route.action.backends):
                target["seat_path"] = cookie_path(route.match)
        return target

    def _place(self, target: dict[str, object]) -> int:
        written = to_json(target)
        if (place := self._places.get(written)) is None:
            self.written.append(target)
            place = self._places[written] = len(self.written)
        return place


class _Drafts:
    """Members of targets, each worked out once: the paths of an Ingress share their policies."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self._known: dict[tuple[object, ...], Mapping[str, object]] = {}

    def members(self, route: Route) -> Mapping[str, object]:
        """Those of the target of *route*, but for its backends."""
        host = self._host
        policies = host.policies_of(route)
        redirected, refused = redirects_to_tls(host, route), refuses_plain_http(route)
        action = None if isinstance(route.action, Forward) else route.action
        if not policies and not redirected and not refused and action is None:
            return _NO_MEMBERS
        matched = len(route.match.elements)
        length = matched if policies.get(PrefixRewrite) else 0
        rewrites = RegexRewrite in policies and route.match.kind is PathKind.REGEX
        pattern = Pattern(route.match.value).pcre if rewrites else None
        clients = None if solves_http01(route) else policies.get(ClientCertificates)
        key = (policies, clients is None, route.order, redirected, refused, action, length, pattern)
        if (known := self._known.get(key)) is not None:
            return known
        draft = DynamicDraft(matched=matched, pattern=pattern)
        DYNAMIC_HANDLERS.contribute(policies, draft, route.order)
        if clients is not None:
            add_dynamic_certificate(draft, host.host, clients, redirected=redirected)
        if redirected:
            add_dynamic_tls_redirect(draft, policies.get(TlsRedirect))
        if refused:
            add_dynamic_plain_http(draft)
        if action is not None:
            add_dynamic_action(action, draft)
        if (handover := policies.get(Handover)) is not None:
            draft.edit(Stage.HEADERS, "handover", handover.words)
        members = self._known[key] = draft.members(route.order)
        return members


def backend_row(backend: Backend) -> bytes:
    """The row of a backend. Endpoints that are named and not numbered are left out: nothing looks them up."""
    if backend.key == DELEGATE:
        sockets = [[f"unix:{item.address}"] for item in backend.endpoints]
        return to_json({"endpoints": sockets, "delegate": True})
    members: dict[str, object] = {
        "endpoints": [[item.address, item.port] for item in backend.endpoints if is_address(item.address)],
    }
    if backend.protocol.is_secure:
        members["secure"] = True
    if backend.protocol.is_grpc:
        members["grpc"] = True
    if backend.policies:
        draft = DynamicDraft()
        DYNAMIC_HANDLERS.contribute(backend.policies, draft)
        members |= draft.upstream
        if isinstance(affinity := members.get("affinity"), dict):
            key = backend.key
            members["affinity"] = {**affinity, "port": f"{key.namespace}/{key.service}:{key.port}"}
    return to_json(members)


def certificate_row(certificate: Certificate) -> bytes:
    """The row of a certificate: key material."""
    return to_json(
        {
            "chain": certificate.chain.decode("ascii", "replace"),
            "key": certificate.private_key.decode("ascii", "replace"),
        }
    )
