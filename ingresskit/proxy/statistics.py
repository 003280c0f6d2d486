"""Counts of what the proxy did, for metrics and tests."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ingresskit.graph import BackendKey, Termination

__all__ = ["DURATION_BOUNDS", "BackendStatistics", "Counters", "EndpointStatistics", "Statistics"]

DURATION_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of request durations, in seconds; one more bucket takes the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatistics:
    """Counts of one backend since it was first used.

    Attributes:
        requests: Forwarded to it, each once however often it was tried.
        failures: Attempts that got no proper answer: no connection, no or a wrong answer, too late.
        active: Under way now.
    """

    requests: int = 0
    failures: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """Counts of one endpoint since a backend in use first listed it.

    Attributes:
        requests: Attempts to send a request to it; a request that is tried again counts again.
        failures: Attempts that failed: no connection, no response, or a malformed or late one.
        active: Requests under way now.
    """

    requests: int = 0
    failures: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts since the proxy was made; those that end in ``_open`` are of now.

    Attributes:
        connections_refused: Closed at once, because there were too many.
        connections_given_up: Closed to make room for others: idle ones at the limit of connections, stalled
            ones at that of memory.
        tunnels_open: Upgraded connections, also among *connections_open*.
        requests: By rule host (empty: no rule took it, or its host is gone), then by the first digit
            of the status. Requests that could not be read are among them; clients that left early
            count as 4.
        statuses: Requests by status, sorted; 499 is a client that left before a response began.
        terminations: Requests that did not end with a whole response of an endpoint or a redirect, by the
            reason; sorted; reasons without a request are left out.
        durations: Requests by duration, a count for each of `DURATION_BOUNDS` and one for longer ones;
            not cumulative.
        upstream_reused: Requests that took a pooled connection.
        upstream_failed: Connections to endpoints that could not be made.
        upstream_failures: Failed attempts to get a response of an endpoint, by the reason; sorted. An
            attempt that is followed by a successful one is counted here only.
        received_bytes: From clients, heads included, TLS not.
        sent_bytes: To clients, likewise.
        endpoints: By ``address:port``, sorted; only endpoints that backends in use list now.
    """

    connections_total: int = 0
    connections_open: int = 0
    connections_refused: int = 0
    connections_given_up: int = 0
    tunnels_open: int = 0
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])
    statuses: Mapping[int, int] = field(default_factory=dict[int, int])
    terminations: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    durations: tuple[int, ...] = ()
    duration_sum: float = 0.0
    retries: int = 0
    upstream_opened: int = 0
    upstream_open: int = 0
    upstream_reused: int = 0
    upstream_failed: int = 0
    upstream_failures: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    received_bytes: int = 0
    sent_bytes: int = 0
    backends: Mapping[BackendKey, BackendStatistics] = field(
        default_factory=dict[BackendKey, BackendStatistics]
    )
    endpoints: Mapping[str, EndpointStatistics] = field(default_factory=dict[str, EndpointStatistics])

    @property
    def duration_bounds(self) -> tuple[float, ...]:
        """The upper bounds of *durations*, in seconds, but for the last one, which has none."""
        return DURATION_BOUNDS

    @property
    def requests_by_class(self) -> Mapping[int, int]:
        """All requests, by the first digit of the status; no count ever goes back."""
        totals: dict[int, int] = {}
        for classes in self.requests.values():
            for digit, count in classes.items():
                totals[digit] = totals.get(digit, 0) + count
        return totals


class Counters:
    """The counts while they are made: plain attributes, written by the event loop only."""

    __slots__ = (
        "connections_given_up",
        "connections_open",
        "connections_refused",
        "connections_total",
        "duration_sum",
        "durations",
        "received_bytes",
        "requests",
        "retries",
        "sent_bytes",
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
        self.duration_sum: float = 0.0
        self.durations: list[int] = [0] * (len(DURATION_BOUNDS) + 1)
        self.received_bytes: int = 0
        self.requests: dict[str, list[int]] = {}
        self.retries: int = 0
        self.sent_bytes: int = 0
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
        self.durations[bisect_left(DURATION_BOUNDS, duration)] += 1
        self.duration_sum += duration

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
            tunnels_open=self.tunnels_open,
            requests=MappingProxyType(
                {
                    host: {digit: count for digit, count in enumerate(classes) if count}
                    for host, classes in sorted(self.requests.items())
                }
            ),
            statuses=MappingProxyType({status: count for status, count in enumerate(self.statuses) if count}),
            terminations=MappingProxyType(dict(sorted(self.terminations.items()))),
            durations=tuple(self.durations),
            duration_sum=self.duration_sum,
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
