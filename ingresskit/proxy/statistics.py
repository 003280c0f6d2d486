"""Counts of what the proxy did, for metrics and tests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ingresskit.graph import BackendKey, Termination
from ingresskit.traffic import (
    DURATION_BOUNDS,
    BackendStatistics,
    DurationTally,
    EndpointStatistics,
    InProcessStatistics,
)

__all__ = ["DURATION_BOUNDS", "BackendStatistics", "Counters", "EndpointStatistics", "Statistics"]


Statistics = InProcessStatistics
"""What `Proxy.statistics` returns."""


class Counters:
    """The counts while they are made: plain attributes, written by the event loop only."""

    __slots__ = (
        "connections_given_up",
        "connections_open",
        "connections_refused",
        "connections_total",
        "durations",
        "first_bytes",
        "http2_connections_total",
        "http2_streams_open",
        "received_bytes",
        "requests",
        "retries",
        "sent_bytes",
        "shadowed",
        "statuses",
        "terminations",
        "tunnels_open",
        "upstream_failed",
        "upstream_failures",
        "upstream_open",
        "upstream_opened",
        "upstream_reused",
    )

    def __init__(self) -> None:
        self.connections_given_up: int = 0
        self.connections_open: int = 0
        self.connections_refused: int = 0
        self.connections_total: int = 0
        self.durations: DurationTally = DurationTally()
        self.first_bytes: DurationTally = DurationTally()
        self.http2_connections_total: int = 0
        self.http2_streams_open: int = 0
        self.received_bytes: int = 0
        self.requests: dict[str, list[int]] = {}
        self.retries: int = 0
        self.sent_bytes: int = 0
        self.shadowed: dict[str, int] = {}
        self.statuses: list[int] = [0] * 600
        self.terminations: dict[Termination, int] = {}
        self.tunnels_open: int = 0
        self.upstream_failed: int = 0
        self.upstream_failures: dict[Termination, int] = {}
        self.upstream_open: int = 0
        self.upstream_opened: int = 0
        self.upstream_reused: int = 0

    def count_request(
        self, rule_host: str, status: int, duration: float, termination: Termination | None = None
    ) -> None:
        """Count a request that is over. *status* is below 600, *duration* is in seconds."""
        self.statuses[status] += 1
        if termination is not None:
            self.terminations[termination] = self.terminations.get(termination, 0) + 1
        classes = self.requests.get(rule_host)
        if classes is None:
            classes = self.requests[rule_host] = [0] * 6
        classes[status // 100] += 1
        self.durations.add(duration)

    def count_shadow(self, stage: str) -> None:
        """Count a request that a policy in shadow would have refused at *stage*."""
        self.shadowed[stage] = self.shadowed.get(stage, 0) + 1

    def count_failure(self, termination: Termination) -> None:
        """Count an attempt that got no response of an endpoint, or not the whole of it."""
        self.upstream_failures[termination] = self.upstream_failures.get(termination, 0) + 1

    def keep_hosts(self, hosts: Mapping[str, object]) -> None:
        """Count those of rule hosts that are gone as nobody's: names come and go, memory must not only grow."""
        for gone in [host for host in self.requests if host and host not in hosts]:
            classes = self.requests.pop(gone)
            nobody = self.requests.setdefault("", [0] * len(classes))
            for digit, count in enumerate(classes):
                nobody[digit] += count

    def freeze(
        self,
        backends: Mapping[BackendKey, BackendStatistics],
        endpoints: Mapping[str, EndpointStatistics] = MappingProxyType({}),
    ) -> Statistics:
        """The counts as they are now."""
        return Statistics(
            connections_total=self.connections_total,
            connections_open=self.connections_open,
            connections_refused=self.connections_refused,
            connections_given_up=self.connections_given_up,
            http2_connections_total=self.http2_connections_total,
            http2_streams_open=self.http2_streams_open,
            tunnels_open=self.tunnels_open,
            requests=MappingProxyType(
                {
                    host: {digit: count for digit, count in enumerate(classes) if count}
                    for host, classes in sorted(self.requests.items())
                }
            ),
            statuses=MappingProxyType({status: count for status, count in enumerate(self.statuses) if count}),
            terminations=MappingProxyType(dict(sorted(self.terminations.items()))),
            shadowed=MappingProxyType(dict(sorted(self.shadowed.items()))),
            durations=tuple(self.durations.counts),
            duration_sum=self.durations.total,
            first_bytes=tuple(self.first_bytes.counts),
            first_byte_sum=self.first_bytes.total,
            retries=self.retries,
            upstream_opened=self.upstream_opened,
            upstream_open=self.upstream_open,
            upstream_reused=self.upstream_reused,
            upstream_failed=self.upstream_failed,
            upstream_failures=MappingProxyType(dict(sorted(self.upstream_failures.items()))),
            received_bytes=self.received_bytes,
            sent_bytes=self.sent_bytes,
            backends=MappingProxyType(dict(backends)),
            endpoints=MappingProxyType(dict(endpoints)),
        )
