"""Rows of the dynamic mode: what the Lua program serves, as JSON.

Nothing of a graph ever becomes a part of the program's text: it is data in these rows, and the keys are
hosts in normal form, and hashes. `lua/ingresskit/router.lua` and `backends.lua` read them. Members that say
the default are left out, since a cluster has many rows.

A host's row: ``h`` the rule host, ``e`` exact paths and ``p`` prefixes (without trailing slash) to places
in ``t``, counted from 1, ``l`` the length of the longest prefix (-1: there is none), ``t`` the targets.

A target has ``b``, the backends as ``[id, weight]``; or ``c``, the status of an answer, and ``r``, where it
redirects to. Beside them: ``n`` the length of the matched path, ``tls`` plain HTTP is redirected, ``only``
it is refused, ``al`` ranges of addresses let in (``[first, last, first, last, …]``), ``m`` the largest
body, ``more`` further tries, ``ct``, ``rt``, ``st`` time-outs in seconds, ``rw`` what takes the matched
path's place, ``lb`` the algorithm, ``qs`` and ``ps`` fields to set on request and answer, ``qd`` and ``pd``
names to take out, in lower case.

A backend's row: ``e`` endpoints as ``[address, port]``, ``n`` its name in the access log, ``s`` it speaks TLS.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from typing import Final, assert_never

from ingresskit.graph import (
    Backend,
    BackendKey,
    Certificate,
    Forward,
    PathKind,
    Protocol,
    Redirect,
    Respond,
    Route,
    VirtualHost,
    redirects_to_tls,
    refuses_plain_http,
)
from ingresskit.policies import (
    Algorithm,
    AllowedSources,
    BodyLimit,
    LoadBalancing,
    PlainHttp,
    Policy,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    ResponseHeaders,
    Retries,
    Timeouts,
    TlsRedirect,
)
from ingresskit.policies.values import HeaderField, Network, plain_header_name
from ingresskit.render.nginx.values import EMPTY_VALUE

__all__ = ["HONOURED", "address_ranges", "backend_id", "backend_row", "certificate_row", "host_row", "to_json"]

HONOURED: Final[frozenset[type[Policy]]] = frozenset(
    {
        AllowedSources,
        BodyLimit,
        LoadBalancing,
        PlainHttp,
        PrefixRewrite,
        RequestHeaders,
        ResponseHeaders,
        Retries,
        Timeouts,
        TlsRedirect,
    }
)
"""The policies that rows can say, and the Lua program honours. Those of `NginxRenderer.supports` must be
among them: a protection that is said to be there and is not would be an open door."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


def to_json(value: object) -> bytes:
    """*value* as canonical JSON: ASCII, sorted keys, no spaces, and so no tab and no line end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


@lru_cache(maxsize=65536)
def backend_id(key: BackendKey) -> str:
    """A short name for a backend, that says nothing: 20 hexadecimal digits."""
    text = "\0".join((key.namespace, key.service, str(key.port)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def host_row(host: VirtualHost) -> bytes:
    """The row of a virtual host."""
    targets: list[dict[str, object]] = []
    places: dict[bytes, int] = {}
    exact: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    shared: dict[PolicySet, dict[str, object]] = {}
    for route in host.routes:
        members = shared.get(route.policies)
        if members is None:
            members = shared[route.policies] = _policies(route.policies)
        matched = route.match.value.rstrip("/")
        target: dict[str, object] = {**members, **_action(route)}
        if redirects_to_tls(host, route):
            target["tls"] = True
        if refuses_plain_http(route):
            target["only"] = True
        if "rw" in target:
            target["n"] = len(matched)
        written = to_json(target)
        if (place := places.get(written)) is None:
            targets.append(target)
            place = places[written] = len(targets)
        if route.match.kind is PathKind.EXACT:
            exact[route.match.value] = place
        else:
            prefixes[matched] = place
    longest = max(map(len, prefixes), default=-1)
    return to_json({"h": host.host, "e": exact, "p": prefixes, "l": longest, "t": targets})


def backend_row(backend: Backend) -> bytes:
    """The row of a backend. Endpoints that are named and not numbered are left out: nothing looks them up."""
    members: dict[str, object] = {
        "e": [[item.address, item.port] for item in backend.endpoints if _is_address(item.address)],
        "n": _log_name(backend.key),
    }
    if backend.protocol is Protocol.HTTPS:
        members["s"] = True
    return to_json(members)


def certificate_row(certificate: Certificate) -> bytes:
    """The row of a certificate: ``c`` its chain, ``k`` its key, both PEM. Key material."""
    return to_json(
        {
            "c": certificate.chain.decode("ascii", "replace"),
            "k": certificate.private_key.decode("ascii", "replace"),
        }
    )


def _action(route: Route) -> dict[str, object]:
    match route.action:
        case Forward(backends=backends):
            return {"b": [[backend_id(key), weight] for key, weight in backends]}
        case Redirect(location=location, status=status):
            return {"c": status, "r": location}
        case Respond(status=status):
            return {"c": status}
        case _:
            assert_never(route.action)


def _policies(policies: PolicySet) -> dict[str, object]:
    members: dict[str, object] = {}
    if sources := policies.get(AllowedSources):
        if sources.networks:
            members["al"] = address_ranges(sources.networks)
    if (limit := policies.get(BodyLimit)) and limit.max_bytes:
        members["m"] = limit.max_bytes
    if (retries := policies.get(Retries)) and retries.attempts != 1:
        members["more"] = retries.attempts
    if timeouts := policies.get(Timeouts):
        for name, value in (("ct", timeouts.connect), ("rt", timeouts.read), ("st", timeouts.send)):
            if value is not None:
                members[name] = value / timedelta(seconds=1)
    if (rewrite := policies.get(PrefixRewrite)) and rewrite.prefix is not None:
        members["rw"] = rewrite.prefix.rstrip("/")
    if (balancing := policies.get(LoadBalancing)) and balancing.algorithm is not Algorithm.ROUND_ROBIN:
        members["lb"] = str(balancing.algorithm)
    if request := policies.get(RequestHeaders):
        members.update(_fields("qs", "qd", request.set, request.remove))
    if response := policies.get(ResponseHeaders):
        members.update(_fields("ps", "pd", response.set, response.remove))
    return members


def _fields(
    setting: str, dropping: str, fields: tuple[HeaderField, ...], removed: tuple[str, ...]
) -> Iterable[tuple[str, object]]:
    if fields:
        yield setting, [[name, value or EMPTY_VALUE] for name, value in fields]
    names = (*(name for name, _ in fields), *removed)
    dropped = sorted({spelled for name in names for spelled in (name.lower(), plain_header_name(name))})
    if dropped:
        yield dropping, dropped


def address_ranges(networks: Iterable[Network]) -> list[str]:
    """Ranges as `lua/ingresskit/addresses.lua` compares them: first, last, first, last, …; merged, sorted."""
    ends = sorted((_text(item.network_address), _text(item.broadcast_address)) for item in networks)
    merged: list[str] = []
    for first, last in ends:
        if merged and first <= merged[-1]:
            merged[-1] = max(last, merged[-1])
        else:
            merged += [first, last]
    return merged


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    packed = address.packed
    return f"{'4' if len(packed) == 4 else '6'}{packed.hex()}"


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def _log_name(key: BackendKey) -> str:
    """``namespace-service-port``, as ingress-nginx's access log has it; empty when a part is no name."""
    if _PLAIN_NAME.fullmatch(key.namespace) and _PLAIN_NAME.fullmatch(key.service):
        return f"{key.namespace}-{key.service}-{key.port}"
    return ""
