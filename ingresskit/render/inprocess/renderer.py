"""From the route graph to the routing table of the in-process proxy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from typing_extensions import override

from ingresskit.filters.ranges import AddressRanges
from ingresskit.graph import (
    PathKind,
    Protocol,
    Route,
    RouteGraph,
    VirtualHost,
    redirects_to_tls,
    refuses_plain_http,
)
from ingresskit.policies import (
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
from ingresskit.policies.values import HeaderField, plain_header_name
from ingresskit.render.base import Renderer
from ingresskit.render.inprocess.table import HostTable, RoutingTable, Target

__all__ = ["InProcessRenderer"]


class InProcessRenderer(Renderer[RoutingTable]):
    """Makes routing tables for `ingresskit.proxy`. A host that did not change keeps its table."""

    name: ClassVar[str] = "inprocess"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset(
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
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.HTTPS})

    def __init__(self) -> None:
        self._rendered: dict[str, tuple[VirtualHost, HostTable]] = {}

    @override
    def render(self, graph: RouteGraph) -> RoutingTable:
        rendered: dict[str, tuple[VirtualHost, HostTable]] = {}
        for host in graph.virtual_hosts:
            before = self._rendered.get(host.host)
            rendered[host.host] = before if before and before[0] is host else (host, _host_table(host))
        self._rendered = rendered
        default = graph.default_certificate
        return RoutingTable(
            hosts={name: table for name, (_, table) in rendered.items()},
            backends=graph.backends,
            certificates={
                name: None if key is None else graph.certificates[key]
                for name, key in graph.server_names.items()
            },
            default_certificate=None if default is None else graph.certificates[default],
            host_fallthrough=graph.host_fallthrough,
            paths=graph.paths,
        )


def _host_table(host: VirtualHost) -> HostTable:
    exact: dict[str, Target] = {}
    prefixes: dict[str, Target] = {}
    # The paths of an Ingress share their policies, and may be ten thousand.
    worked_out: dict[PolicySet, Target] = {}
    for route in host.routes:
        template = worked_out.get(route.policies)
        if template is None:
            template = worked_out[route.policies] = _target(host, route)
        target = replace(
            template,
            route=route,
            matched=route.match.value.rstrip("/"),
            redirect_to_tls=redirects_to_tls(host, route),
            refuse_plain_http=refuses_plain_http(route),
        )
        if route.match.kind is PathKind.EXACT:
            exact[route.match.value] = target
        else:
            prefixes[target.matched] = target
    return HostTable(host=host.host, exact=exact, prefixes=prefixes)


def _target(host: VirtualHost, route: Route) -> Target:
    policies = route.policies
    timeouts = policies.get(Timeouts) or Timeouts()
    rewrite = policies.get(PrefixRewrite) or PrefixRewrite()
    request = policies.get(RequestHeaders) or RequestHeaders()
    response = policies.get(ResponseHeaders) or ResponseHeaders()
    return Target(
        route=route,
        host=host.host,
        matched=route.match.value.rstrip("/"),
        redirect_to_tls=redirects_to_tls(host, route),
        refuse_plain_http=refuses_plain_http(route),
        connect_timeout=_seconds(timeouts.connect),
        read_timeout=_seconds(timeouts.read),
        send_timeout=_seconds(timeouts.send),
        retries=(policies.get(Retries) or Retries()).attempts,
        max_body_bytes=(policies.get(BodyLimit) or BodyLimit()).max_bytes,
        rewrite_prefix=None if rewrite.prefix is None else rewrite.prefix.rstrip("/"),
        request_headers=_encoded(request.set),
        drop_request_headers=_dropped(request.set, request.remove),
        response_headers=_encoded(response.set),
        drop_response_headers=_dropped(response.set, response.remove),
        algorithm=(policies.get(LoadBalancing) or LoadBalancing()).algorithm,
        allowed=AddressRanges((policies.get(AllowedSources) or AllowedSources()).networks),
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _encoded(fields: tuple[HeaderField, ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields)


def _dropped(fields: tuple[HeaderField, ...], removed: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(
        plain_header_name(name).encode("ascii") for name in (*(name for name, _ in fields), *removed)
    )
