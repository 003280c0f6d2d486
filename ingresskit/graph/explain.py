"""Why a request is answered as it is: the winning rule, and a reason for each near miss.

A near miss is a rule that its author might have expected to win: it is served under a host or a
path that takes the request, or would be if it were served at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from enum import StrEnum
from heapq import nsmallest
from typing import assert_never
from urllib.parse import urlsplit

from ingresskit.errors import ConfigurationError
from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.holder import HostHolder, holder_of
from ingresskit.graph.hosts import ANY_HOST, HostRefused, host_candidates, normalise_host
from ingresskit.graph.match import PathKind, PathMatch
from ingresskit.graph.nodes import Forward, Redirect, Respond, Route, VirtualHost
from ingresskit.graph.paths import PathRefused, normalise_path
from ingresskit.models import NO_CLAIMS, HostClaims, ObjectRef
from ingresskit.policies import AllowedSources, Origin, PlainHttp, TlsRedirect

__all__ = ["Explanation", "Miss", "NearMiss", "Request", "explain"]

_MOST_NEAR_MISSES = 50
_MOST_OTHER_HOSTS = 8
_MOST_COMPARED_KIN = 200
_LONGEST_SLIP = 4
# 20,000 hosts of 30 characters: 0.1 s; what is left out then are hosts that differ in two labels.
_MOST_COMPARED_CHARACTERS = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to be explained; nothing is sent.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: As a client would send it, with or without port.
        path: As a client would send it, without the query.
        query: As a client would send it, with the question mark; empty without one.
        headers: Header fields, names in lower case.
        client: The client's address; ``None`` when it does not matter.
    """

    scheme: str = "http"
    host: str = ""
    path: str = "/"
    query: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    client: str | None = None

    @classmethod
    def of(
        cls,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        client: str | None = None,
    ) -> Request:
        """The request that a client makes for *url*. A ``host`` header replaces the URL's host.

        Raises:
            ConfigurationError: *url* is not an http or https URL with a host.
        """
        try:
            parts = urlsplit(url)
            netloc = parts.netloc.rpartition("@")[2]
        except ValueError as exc:
            raise ConfigurationError(f"{url!r} is not a URL: {exc}") from None
        if parts.scheme not in ("http", "https") or not netloc:
            raise ConfigurationError(f"{url!r} is not an http or https URL with a host")
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        return cls(
            scheme=parts.scheme,
            host=fields.get("host", netloc),
            path=parts.path or "/",
            query=f"?{parts.query}" if parts.query else "",
            method=method,
            headers=fields,
            client=client,
        )


class Miss(StrEnum):
    """Why a served rule does not take a request."""

    HOST_DIFFERS = "HostDiffers"
    LESS_SPECIFIC_HOST = "LessSpecificHost"
    PATH_DIFFERS = "PathDiffers"
    PATH_TYPE = "PathType"
    LESS_SPECIFIC_PATH = "LessSpecificPath"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A rule that does not take the request.

    Attributes:
        reason: A `Miss`, or for a rule that is not served, why it is not: a
            `ingresskit.diagnostics.Reason`, or ``"ClassNotOurs"``.
        message: One sentence.
        winner: Who took its place, where there is one.
    """

    origin: Origin
    host: str
    path: str
    reason: str
    message: str
    winner: ObjectRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What happens to a request and why.

    Attributes:
        host: The host in normal form; as sent when it has none.
        path: The path in normal form; as sent when it has none.
        virtual_host: The rule host that took the request, ``None`` when none did.
        route: The route that took it, ``None`` when none did.
        status: What the proxy answers by itself; ``None`` when it forwards the request.
        verdict: What happens, one sentence.
        near_misses: At most 50, nearest first: same host before other hosts, served before unserved.
        holder: Who holds the host, since when and why; ``None`` when nobody does, or the record is not given.
    """

    request: Request
    host: str
    path: str
    virtual_host: str | None = None
    route: Route | None = None
    status: int | None = None
    verdict: str
    near_misses: tuple[NearMiss, ...] = ()
    holder: HostHolder | None = None


def explain(graph: RouteGraph, request: Request, claims: HostClaims = NO_CLAIMS) -> Explanation:
    """Why *request* is answered as it is. Agrees with `RouteGraph.resolve` by construction.

    Args:
        graph: What is served.
        request: The request; nothing is sent.
        claims: The record of the same translation, to say who holds the host.
    """
    try:
        host, path = normalise_host(request.host), normalise_path(request.path)
    except HostRefused as exc:
        return _refused(request, f"the host {request.host!r} {exc}")
    except PathRefused as exc:
        return _refused(request, f"the path {request.path!r} {exc}")
    candidates = graph.candidates(request.host)
    route = graph.resolve(request.host, request.path)
    winner = next((item for item in candidates if route is not None and route in item.routes), None)
    status, verdict = _verdict(graph, request, host, path, candidates, winner, route)
    misses = list(_served_misses(graph, host, path, candidates, route))
    misses += _unserved_misses(graph, host, path)
    nearness = {name: rank for rank, name in enumerate(host_candidates(host))}
    misses.sort(key=lambda miss: nearness.get(miss.host, len(nearness)))
    return Explanation(
        request=request,
        host=host,
        path=path,
        virtual_host=winner.host if winner else None,
        route=route,
        status=status,
        verdict=verdict,
        near_misses=tuple(misses[:_MOST_NEAR_MISSES]),
        holder=holder_of(claims, request.host),
    )


def _refused(request: Request, why: str) -> Explanation:
    return Explanation(
        request=request, host=request.host, path=request.path, status=400, verdict=f"400: {why}."
    )


def _verdict(
    graph: RouteGraph,
    request: Request,
    host: str,
    path: str,
    candidates: tuple[VirtualHost, ...],
    winner: VirtualHost | None,
    route: Route | None,
) -> tuple[int | None, str]:
    if route is None or winner is None:
        if not candidates:
            return 404, f"404: no Ingress claims the host {host}."
        return 404, f"404: the host {candidates[0].host} has no rule that takes {path}."
    rule = f"{route.shown} of {winner.host} ({route.origin})"
    if request.client and (allowed := route.policies.get(AllowedSources)) is not None and allowed.networks:
        # Before everything else, as in the proxy: who is not let in learns nothing.
        try:
            client = _client_address(request.client)
        except ValueError:
            return 403, f"403: {rule} takes it, and {request.client!r} is not an address that it lets in."
        if not any(client in network for network in allowed.networks):
            return 403, f"403: {rule} takes it and does not let {client} in."
    if request.scheme == "http" and refuses_plain_http(route):
        return 403, f"403: {rule} takes it, and plain HTTP is refused ({_asked_by(route)})."
    if request.scheme == "http" and redirects_to_tls(winner, route):
        return 308, f"308: {rule} takes it and sends plain HTTP to HTTPS."
    match route.action:
        case Redirect():
            return (
                route.action.status,
                f"{route.action.status}: {rule} takes it and redirects to {route.action.location}.",
            )
        case Respond():
            why = f" because {route.action.message}" if route.action.message else ""
            return route.action.status, f"{route.action.status}: {rule} takes it{why}."
        case Forward():
            keys = [share.key for share in route.action.backends]
            usable = [key for key in keys if key in graph.backends and graph.backends[key].endpoints]
            if not usable:
                notes = "; ".join(f"{key}: {graph.backends[key].note}" for key in keys if key in graph.backends)
                return 503, f"503: {rule} takes it, but no endpoint can ({notes})."
            return None, f"{rule} takes it and forwards it to {', '.join(map(str, usable))}."
        case _:
            assert_never(route.action)


def _client_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address in *text*; one of IPv4 that is mapped into IPv6 comes back as IPv4.

    Raises:
        ValueError: It is none.
    """
    parsed = ipaddress.ip_address(text)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def redirects_to_tls(host: VirtualHost, route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes is answered with a redirect to HTTPS."""
    if refuses_plain_http(route):
        return False
    policy = route.policies.get(TlsRedirect)
    return policy.enabled if policy is not None else host.tls


def refuses_plain_http(route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes gets 403, whatever else would happen to it."""
    policy = route.policies.get(PlainHttp)
    return policy is not None and not policy.allowed


def _asked_by(route: Route) -> str:
    origin = route.policies.origin(PlainHttp, "allowed")
    return str(origin.field if origin is not None else route.origin)


def _served_misses(
    graph: RouteGraph, host: str, path: str, candidates: tuple[VirtualHost, ...], winner: Route | None
) -> Iterator[NearMiss]:
    for virtual_host in candidates:
        for route in virtual_host.routes:
            if route is not winner:
                reason, message = _path_miss(route.match, path, winner)
                yield _near(virtual_host, route, reason, message)
    names = {item.host for item in candidates}
    for name in host_candidates(host):
        other = graph.virtual_host(name)
        if other is not None and name not in names:
            message = f"the host {candidates[0].host} is more specific than {_named(name)}"
            yield from _first_match(other, path, Miss.LESS_SPECIFIC_HOST, message)
    for other in _hosts_like(graph, host):
        yield from _first_match(other, path, Miss.HOST_DIFFERS, _host_message(other.host, host))


def _first_match(host: VirtualHost, path: str, reason: Miss, message: str) -> Iterator[NearMiss]:
    """The rule that would take the path if the host were right."""
    route = next((item for item in host.routes if item.match.matches(path) and not item.fallback), None)
    if route is not None:
        yield _near(host, route, reason, message)


def _hosts_like(graph: RouteGraph, host: str) -> list[VirtualHost]:
    """Hosts that somebody who asks for *host* may have meant, likest first, a handful at most."""
    mine = set(host_candidates(host))
    others = {item.host: item for item in graph.virtual_hosts if item.host not in mine}
    kin = nsmallest(
        _MOST_COMPARED_KIN,
        (name for name in others if _akin(name, host)),
        key=lambda name: (abs(len(name) - len(host)), name),
    )
    kin.sort(key=lambda name: (-SequenceMatcher(None, name, host).quick_ratio(), name))
    # Whoever asks for a host that is there did not mistype it.
    worth = [] if graph.virtual_host(host) is not None else _worth_comparing(host, others)
    typos = get_close_matches(host, worth, n=_MOST_OTHER_HOSTS, cutoff=0.8)
    return [others[name] for name in dict.fromkeys([*typos, *kin])][:_MOST_OTHER_HOSTS]


def _worth_comparing(host: str, others: Iterable[str]) -> list[str]:
    """Hosts that may be a slip of the hand away. Comparing texts takes time by the square of their length."""
    alike = [name for name in others if abs(len(name) - len(host)) <= _LONGEST_SLIP]
    most = max(_MOST_COMPARED_CHARACTERS // (len(host) ** 2), 100)
    if len(alike) > most:
        first, _, rest = host.partition(".")
        alike = [name for name in alike if (parts := name.partition("."))[0] == first or parts[2] == rest]
    return alike[:most]


def _near(host: VirtualHost, route: Route, reason: Miss, message: str) -> NearMiss:
    return NearMiss(origin=route.origin, host=host.host, path=route.shown, reason=reason, message=message)


def _path_miss(match: PathMatch, path: str, winner: Route | None) -> tuple[Miss, str]:
    if match.matches(path):
        return Miss.LESS_SPECIFIC_PATH, f"{winner.match if winner else 'another rule'} is more specific"
    if match.kind is PathKind.EXACT and PathMatch.prefix(match.value).matches(path):
        return Miss.PATH_TYPE, f"Exact {match.value} takes that path only, not {path}"
    if path.startswith(match.value):
        return (
            Miss.PATH_TYPE,
            f"{match} takes whole elements between slashes; {path} only begins with the same letters",
        )
    if path.lower().startswith(match.value.lower()):
        return Miss.PATH_DIFFERS, f"paths are case-sensitive: {match.value} is not {path}"
    return Miss.PATH_DIFFERS, f"{match} does not take {path}"


def _akin(rule: str, host: str) -> bool:
    """Whether one name stands inside the other: ``shop.test`` and ``www.shop.test``."""
    bare = rule.removeprefix("*.")
    return f".{host}".endswith(f".{bare}") or f".{bare}".endswith(f".{host}")


def _host_message(rule: str, host: str) -> str:
    if rule.startswith("*.") and host.endswith(rule[1:]):
        return f"{rule} takes exactly one label before {rule[2:]}, and {host} has more"
    if rule.startswith("*.") and host == rule[2:]:
        return f"{rule} takes names below {host}, not {host} itself"
    return f"it is for the host {rule}, not {host}"


def _named(host: str) -> str:
    return "any host" if host == ANY_HOST else host


def _unserved_misses(graph: RouteGraph, host: str, path: str) -> Iterator[NearMiss]:
    may_take = set(host_candidates(host))
    for item in graph.unserved:
        host_fits = item.host in may_take or (item.host and _akin(item.host, host))
        path_fits = item.match is None or item.match.matches(path)
        if (item.host in may_take and path_fits) or (not item.path and host_fits):
            yield NearMiss(
                origin=item.origin,
                host=item.host,
                path=item.path,
                reason=item.reason,
                message=item.message,
                winner=item.winner,
            )
