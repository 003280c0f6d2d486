"""Why a request is answered as it is: the winning rule, and a reason for each near miss.

A near miss is a rule that its author might have expected to win: it is served under a host or a
path that takes the request, or would be if it were served at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import urlsplit

from ingresskit.errors import ConfigurationError
from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.holder import HostHolder, holder_of
from ingresskit.graph.hosts import HostRefused, normalise_host
from ingresskit.graph.near_misses import NearMiss, near_misses
from ingresskit.graph.nodes import Forward, Redirect, Respond, Route, VirtualHost
from ingresskit.graph.paths import PathRefused, normalise_path
from ingresskit.models import NO_CLAIMS, HostClaims
from ingresskit.policies import AllowedSources, PlainHttp, TlsRedirect

__all__ = ["Explanation", "Request", "explain"]

_HTTP01_PATH = "/.well-known/acme-challenge"
_MOST_NEAR_MISSES = 50


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
        host, path = normalise_host(request.host), normalise_path(request.path, graph.paths)
    except HostRefused as exc:
        return _refused(request, f"the host {request.host!r} {exc}")
    except PathRefused as exc:
        return _refused(request, f"the path {request.path!r} {exc}")
    candidates = graph.candidates(request.host)
    route = graph.resolve(request.host, request.path)
    winner = next((item for item in candidates if route is not None and route in item.routes), None)
    status, verdict = _verdict(graph, request, host, path, candidates, winner, route)
    return Explanation(
        request=request,
        host=host,
        path=path,
        virtual_host=winner.host if winner else None,
        route=route,
        status=status,
        verdict=verdict,
        near_misses=near_misses(graph, host, path, candidates, route)[:_MOST_NEAR_MISSES],
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


def solves_http01(route: Route) -> bool:
    """Whether the rule of *route* is for ACME's HTTP-01 challenge: nothing may redirect or authenticate it.

    The validation begins over plain HTTP, before there is a certificate, and carries no credentials. What
    counts is the path that the rule itself asks for: a request for the same path that another rule takes,
    such as a protected ``/``, keeps its redirect and its protection.

    Source: RFC 8555, section 8.3.
    """
    path = route.match.value
    return path == _HTTP01_PATH or path.startswith(f"{_HTTP01_PATH}/")


def redirects_to_tls(host: VirtualHost, route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes is answered with a redirect to HTTPS.

    Never one that `solves_http01`, whatever its policies say.
    """
    if solves_http01(route) or refuses_plain_http(route):
        return False
    policy = route.policies.get(TlsRedirect)
    return policy.enabled if policy is not None else host.tls


def refuses_plain_http(route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes gets 403, whatever else would happen to it.

    Never one that `solves_http01`, for it could not be solved over TLS.
    """
    policy = route.policies.get(PlainHttp)
    return policy is not None and not policy.allowed and not solves_http01(route)


def _asked_by(route: Route) -> str:
    origin = route.policies.origin(PlainHttp, "allowed")
    return str(origin.field if origin is not None else route.origin)
