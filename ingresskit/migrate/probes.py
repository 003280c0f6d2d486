"""Requests that show what a graph does: for each host, path and condition, both sides of its boundary."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ingresskit.graph import ANY_HOST, PathKind, PathMatch, Request, Route, RouteGraph, VirtualHost
from ingresskit.migrate.samples import matching_texts
from ingresskit.policies import (
    AllowedSources,
    BasicAuth,
    BodyLimit,
    CookieCondition,
    Cors,
    DeniedAgents,
    DeniedSources,
    ExactValue,
    ExternalAuth,
    HeaderCondition,
    MethodCondition,
    PatternValue,
    PolicySet,
    QueryCondition,
    Selection,
    cookie_value,
)
from ingresskit.policies.values import Network

__all__ = ["Probes", "probes_of", "request_key"]

_STRANGER = "198.51.100.1"  # RFC 5737: nobody's
# Of the user "nobody", whose password is "probe".
_CREDENTIALS = "Basic bm9ib2R5OnByb2Jl"
_MOST_FIELDS = 20
_NO_HOST = "unknown-host.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """How many requests are made.

    Attributes:
        most_per_host: Of each host, those that come first.
        clients: Client addresses beside those that networks of policies suggest.
        methods: Of the requests for each path, beside GET.
        headers: Header fields that every request has.
    """

    most_per_host: int = 500
    clients: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("POST",)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def probes_of(graph: RouteGraph, host: str, settings: Probes | None = None) -> Iterator[Request]:
    """Requests for one host of *graph*, the plainest first, each once.

    Paths are those of the rules and what lies next to them: the same with and without a slash, an element
    more, a letter more, another case, what a regular expression matches and what it nearly does. Then come
    other methods, preflights, clients in and out of networks that policies name, bodies at a limit, and
    what variants ask for.

    Args:
        graph: What is served.
        host: A rule host: of a wildcard, a name below it is asked for. One that *graph* does not have gives
            requests for ``/``.
        settings: How many.
    """
    settings = settings or Probes()
    name = _concrete(host)
    found: set[tuple[object, ...]] = set()
    known = graph.virtual_host(host)
    for request in _of_host(name, known, settings):
        shown = replace(request, headers={**settings.headers, **request.headers})
        key = request_key(shown)
        if key in found:
            continue
        if len(found) >= settings.most_per_host:
            return
        found.add(key)
        yield shown


def request_key(request: Request) -> tuple[object, ...]:
    """The same for equal requests, and it can be hashed."""
    headers = sorted(request.headers.items())
    return (
        *(request.scheme, request.host, request.path, request.query, request.method, request.client),
        *headers,
    )


def _concrete(host: str) -> str:
    if host == ANY_HOST:
        return _NO_HOST
    return f"some-name.{host[2:]}" if host.startswith("*.") else host


def _of_host(name: str, host: VirtualHost | None, settings: Probes) -> Iterator[Request]:
    plain = Request(scheme="https", host=name)
    yield plain
    yield replace(plain, scheme="http")
    if host is None:
        return
    for route in host.routes:
        for path in _at(route.match):
            yield from _schemes(replace(plain, path=path))
    for route in host.routes:
        inside = _within(route.match)
        asked = replace(plain, path=inside)
        for conditional in _selected(asked, route.selection):
            yield from _schemes(conditional)
        yield from _for_policies(asked, host, route, settings)
    for route in host.routes:
        for path in _around(route.match):
            yield replace(plain, path=path)
        yield replace(plain, scheme="http", path=f"{_within(route.match).rstrip('/')}/")


def _schemes(request: Request) -> Iterator[Request]:
    yield request
    yield replace(request, scheme="http")


def _within(match: PathMatch) -> str:
    """A path that *match* takes."""
    return next(_at(match), "/")


def _at(match: PathMatch) -> Iterator[str]:
    """Paths that *match* takes."""
    if match.kind is PathKind.REGEX:
        for text in matching_texts(match.value):
            path = text if text.startswith("/") else f"/{text}"
            yield path
            yield f"{path}x"
        return
    yield match.value
    if match.kind is PathKind.PREFIX:
        yield f"{match.value.rstrip('/')}/probe"


def _around(match: PathMatch) -> Iterator[str]:
    """Paths next to those that *match* takes."""
    for path in matching_texts(match.value) if match.kind is PathKind.REGEX else (match.value,):
        bare = path.rstrip("/")
        if not bare.startswith("/"):
            continue
        yield f"{bare}/"
        yield bare
        yield f"{bare}x"
        yield f"{bare}/a/b"
        yield bare.swapcase()
        yield f"{bare[:-1]}%{ord(bare[-1]):02X}"
        yield f"{bare}/../other"
        yield f"{bare.rpartition('/')[0]}//{bare.rpartition('/')[2]}"
        yield bare.rpartition("/")[0] or "/"


def _selected(request: Request, selection: Selection) -> Iterator[Request]:
    """One for which every condition of a variant holds, and for each condition one for which it does not."""
    whole = request
    for condition in selection.conditions:
        whole = _with(whole, condition, holds=True)
    yield whole
    for condition in selection.conditions:
        yield _with(whole, condition, holds=False)


def _with(request: Request, condition: object, *, holds: bool) -> Request:
    match condition:
        case HeaderCondition(name=name, value=value, negated=negated):
            text = _value(value) if holds is not negated else None
            fields = {key: held for key, held in request.headers.items() if key != name}
            return replace(request, headers=fields if text is None else {**fields, name: text})
        case CookieCondition(name=name, value=value, negated=negated):
            text = _value(value) if holds is not negated else None
            return _with_cookie(request, name, text)
        case QueryCondition(name=name, value=value, negated=negated):
            text = _value(value) if holds is not negated else None
            return replace(request, query="" if text is None else f"?{name}={text}")
        case MethodCondition(method=method, negated=negated):
            return replace(request, method=method if holds is not negated else "PATCH")
        case _:
            return request


def _value(value: object) -> str:
    """A value that a `ValueMatch` holds for."""
    match value:
        case ExactValue(text=text):
            return text
        case PatternValue(pattern=pattern):
            return next(iter(matching_texts(pattern.text)), "x")
        case _:
            return "x"


def _with_cookie(request: Request, name: str, value: str | None) -> Request:
    held = request.headers.get("cookie", "")
    if cookie_value(held.encode("latin-1", "replace"), name) is not None:
        held = "; ".join(item for item in held.split("; ") if item.partition("=")[0] != name)
    parts = [item for item in (held, "" if value is None else f"{name}={value}") if item]
    fields = {key: text for key, text in request.headers.items() if key != "cookie"}
    return replace(request, headers={**fields, "cookie": "; ".join(parts)} if parts else fields)


def _for_policies(request: Request, host: VirtualHost, route: Route, settings: Probes) -> Iterator[Request]:
    for method in settings.methods:
        yield replace(request, method=method)
    origin = {"origin": "https://app.example", "access-control-request-method": "POST"}
    yield replace(request, method="OPTIONS", headers={**request.headers, **origin})
    yield replace(request, headers={**request.headers, "origin": "https://app.example"})
    yield replace(request, query="?probe=1")
    for client in (*settings.clients, *_clients(host, route)):
        yield replace(request, client=client)
    for fields in _fields(host.policies_of(route)):
        yield replace(request, headers={**request.headers, **fields})
    limit = host.policies_of(route).get(BodyLimit)
    if limit is not None and limit.max_bytes:
        for size in (limit.max_bytes, limit.max_bytes + 1):
            fields = {**request.headers, "content-length": str(size)}
            yield replace(request, method="POST", headers=fields)


def _fields(policies: PolicySet) -> Iterator[Mapping[str, str]]:
    """Header fields of requests that policies are about: origins, programs, pages and credentials."""
    cors, denied = policies.get(Cors), policies.get(DeniedAgents)
    for origin in () if cors is None else cors.origins[:_MOST_FIELDS]:
        yield {"origin": origin.replace("*", "probe")}
    for name, patterns in (
        () if denied is None else (("user-agent", denied.agents), ("referer", denied.referers))
    ):
        for pattern in patterns[:_MOST_FIELDS]:
            yield {name: next(iter(matching_texts(pattern)), pattern)}
    if BasicAuth in policies or ExternalAuth in policies:
        yield {"authorization": _CREDENTIALS}


def _clients(host: VirtualHost, route: Route) -> Iterator[str]:
    policies = host.policies_of(route)
    allowed, denied = policies.get(AllowedSources), policies.get(DeniedSources)
    networks = (*(allowed.networks if allowed else ()), *(denied.networks if denied else ()))
    if not networks:
        return
    yield _STRANGER
    for network in networks[:20]:
        yield from _edges(network)


def _edges(network: Network) -> Iterator[str]:
    """The first and the last address of *network*, and those just outside."""
    first, last = int(network.network_address), int(network.broadcast_address)
    highest = 2**network.max_prefixlen - 1
    make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    for number in dict.fromkeys((first, last, first - 1, last + 1)):
        if 0 <= number <= highest:
            yield str(make(number))
