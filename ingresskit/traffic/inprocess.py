"""What the in-process proxy counts, in one process or in several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from ingresskit.traffic.families import MetricFamily, counter, gauge
from ingresskit.traffic.health import EndpointHealth
from ingresskit.traffic.statistics import TimedProxyStatistics, shares

__all__ = ["EndpointStatistics", "InProcessStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """Counts of one endpoint since a backend in use first listed it.

    Attributes:
        requests: Attempts to send a request to it; a request that is tried again counts again.
        failures: Attempts that failed: no connection, no response, or a malformed or late one.
        active: Requests under way now.
        ejections: How often it was ejected; see `ingresskit.policies.PassiveHealth`.
        health: Whether it gets requests now; the worst of what processes, and backends that use it otherwise,
            know.
    """

    requests: int = 0
    failures: int = 0
    active: int = 0
    ejections: int = 0
    health: EndpointHealth = EndpointHealth.WELL


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessStatistics(TimedProxyStatistics):
    """Counts since the proxy was made; those that end in ``_open`` are of now.

    Attributes:
        connections_given_up: Closed to make room for others: idle ones at the limit of connections, stalled
            ones at that of memory.
        http2_connections_total: Connections of clients that spoke HTTP/2, also among *connections_total*.
        http2_streams_open: Requests under way on them.
        tunnels_open: Upgraded connections, also among *connections_open*; of HTTP/2, streams.
        upstream_reused: Requests that took a pooled connection.
        endpoints: By ``address:port``, sorted; only endpoints that backends in use list now.
    """

    connections_given_up: int = 0
    http2_connections_total: int = 0
    http2_streams_open: int = 0
    tunnels_open: int = 0
    upstream_opened: int = 0
    upstream_open: int = 0
    upstream_reused: int = 0
    endpoints: Mapping[str, EndpointStatistics] = field(default_factory=dict[str, EndpointStatistics])

    @override
    def own_families(self) -> Iterator[MetricFamily]:
        yield from TimedProxyStatistics.own_families(self)
        given_up = "Connections of clients that were closed to make room for others."
        yield counter("connections_given_up", given_up, self.connections_given_up)
        http2 = "Connections of clients that spoke HTTP/2."
        yield counter("http2_connections", http2, self.http2_connections_total)
        yield gauge("http2_streams_open", "Streams of HTTP/2 that are open now.", self.http2_streams_open)
        yield gauge("tunnels_open", "Upgraded connections that are open now.", self.tunnels_open)
        yield counter("upstream_opened", "Connections opened to endpoints.", self.upstream_opened)
        yield gauge("upstream_open", "Connections to endpoints that are open now.", self.upstream_open)
        reused = "Requests that took a connection to an endpoint that was open already."
        yield counter("upstream_reused", reused, self.upstream_reused)
        yield from shares("endpoint", self.endpoints)

    @override
    def unwell_endpoints(self) -> Mapping[str, EndpointHealth]:
        """As `ProxyStatistics.unwell_endpoints`."""
        found = {name: item.health for name, item in self.endpoints.items()}
        return {name: health for name, health in found.items() if health is not EndpointHealth.WELL}

    @override
    def ejections_in_use(self) -> int:
        """As `ProxyStatistics.ejections_in_use`."""
        return sum(item.ejections for item in self.endpoints.values())
