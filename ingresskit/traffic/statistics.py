"""What every proxy counts, whichever it is, and what those count that see each exchange."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from typing_extensions import override

from ingresskit.graph import BackendKey, Termination
from ingresskit.traffic.durations import DURATION_BOUNDS, duration_family
from ingresskit.traffic.families import MetricFamily, MetricKind, counter, gauge, labelled
from ingresskit.traffic.health import EndpointHealth, health_families

__all__ = ["BackendStatistics", "ProxyStatistics", "Share", "TimedProxyStatistics", "shares"]


class Share(Protocol):
    """What one backend or endpoint had of the traffic."""

    @property
    def requests(self) -> int:
        """Sent to it."""
        ...

    @property
    def failures(self) -> int:
        """Attempts that failed."""
        ...

    @property
    def active(self) -> int:
        """Under way now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatistics:
    """Counts of one backend since it was first used.

    Attributes:
        requests: Forwarded to it, each once however often it was tried; HAProxy counts one that was tried
            on two endpoints for both.
        failures: Attempts that got no proper response: no connection, no or a malformed response, too late.
        active: Under way now.
    """

    requests: int = 0
    failures: int = 0
    active: int = 0

    def plus(self, requests: int, failures: int, active: int) -> BackendStatistics:
        """These counts and those of another process that serves the same backend."""
        return BackendStatistics(
            requests=self.requests + requests,
            failures=self.failures + failures,
            active=self.active + active,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatistics:
    """What every proxy counts; those that end in ``_open`` are of now. A proxy adds what it alone counts.

    Attributes:
        requests: By rule host (empty: no rule took it, or its host is gone), then by the first digit
            of the status. Requests that could not be read are among them; clients that left early
            count as 4.
        statuses: Requests by status, sorted; 499 is a client that left before a response began.
        terminations: Requests that did not end with a whole response of an endpoint or a redirect, by the
            reason; sorted; reasons without a request are left out.
        shadowed: Requests that policies would have refused which only count in shadow, by stage.
        durations: Requests by duration, a count for each of `DURATION_BOUNDS` and one for longer ones;
            not cumulative. Empty where requests are not timed.
        duration_sum: Of all requests, in seconds.
        first_bytes: Requests by the time until the first octet of the endpoint's response, likewise; those
            that got none are left out.
        first_byte_sum: Of all these times, in seconds.
        received_bytes: From clients, heads included, TLS not.
        sent_bytes: To clients, likewise.
        unwell: Endpoints that are not well, by ``address:port``, sorted, as far as the program, or a delegate
            of it, tells.
        ejections: Of endpoints, as far as a delegate knows.
        delegated: Requests, of *requests*, that were handed over to a delegate.
        unwritten: Why what is served is not in the state folder, so that a program that is started again
            serves something older; empty when it is, or there is no such folder.
    """

    connections_total: int = 0
    connections_open: int = 0
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])
    statuses: Mapping[int, int] = field(default_factory=dict[int, int])
    terminations: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    shadowed: Mapping[str, int] = field(default_factory=dict[str, int])
    retries: int = 0
    durations: tuple[int, ...] = ()
    duration_sum: float = 0.0
    first_bytes: tuple[int, ...] = ()
    first_byte_sum: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0
    backends: Mapping[BackendKey, BackendStatistics] = field(
        default_factory=dict[BackendKey, BackendStatistics]
    )
    unwell: Mapping[str, EndpointHealth] = field(default_factory=dict[str, EndpointHealth])
    ejections: int = 0
    delegated: int = 0
    unwritten: str = ""

    @property
    def duration_bounds(self) -> tuple[float, ...]:
        """The upper bounds of *durations*, in seconds, but for the last one, which has none."""
        return DURATION_BOUNDS

    def unwell_endpoints(self) -> Mapping[str, EndpointHealth]:
        """The endpoints that are not well, by ``address:port``, sorted."""
        return self.unwell

    def ejections_in_use(self) -> int:
        """How often the endpoints that are in use were ejected."""
        return self.ejections

    def all_by_class(self) -> Mapping[int, int]:
        """All requests, by the first digit of the status; no count ever goes back."""
        totals: dict[int, int] = {}
        for classes in self.requests.values():
            for digit, count in classes.items():
                totals[digit] = totals.get(digit, 0) + count
        return totals

    def families(self) -> Iterable[MetricFamily]:
        """The metrics. Counts by host are not among them: tenants decide how many hosts there are."""
        yield counter("connections", "Connections of clients.", self.connections_total)
        yield gauge("connections_open", "Connections of clients that are open now.", self.connections_open)
        classes = {f"{digit}xx": float(count) for digit, count in self.all_by_class().items()}
        yield labelled("requests", "Requests by class of status.", "class", classes)
        statuses = {str(status): float(count) for status, count in self.statuses.items()}
        yield labelled("responses", "Responses by status.", "status", statuses)
        yield labelled(
            "request_terminations",
            "Requests that got no whole response of an endpoint, by reason.",
            "reason",
            _by_reason(self.terminations, Termination),
        )
        shadowed = "Requests that policies in shadow would have refused, by stage."
        yield labelled("shadow_refusals", shadowed, "stage", self.shadowed)
        yield counter("delegated_requests", "Requests that were handed over to a delegate.", self.delegated)
        yield counter("retries", "Attempts after the first one of a request.", self.retries)
        yield counter("received_bytes", "Bytes received from clients.", self.received_bytes)
        yield counter("sent_bytes", "Bytes sent to clients.", self.sent_bytes)
        text = "How long requests took."
        yield duration_family("request_duration_seconds", text, self.durations, self.duration_sum)
        text = "Time until the first octet of the endpoint's response."
        yield duration_family("upstream_first_byte_seconds", text, self.first_bytes, self.first_byte_sum)
        text = "1 while what is served cannot be written to the state folder."
        yield gauge("state_unwritten", text, float(bool(self.unwritten)))
        yield from self.own_families()
        yield from health_families(self.unwell_endpoints().values(), self.ejections_in_use())
        yield from shares("backend", {str(key): item for key, item in self.backends.items()})

    def own_families(self) -> Iterator[MetricFamily]:
        """The metrics of what this proxy alone counts."""
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedProxyStatistics(ProxyStatistics):
    """What a proxy counts that times each request and knows each attempt to get a response.

    Attributes:
        connections_refused: Closed at once, because there were too many.
        upstream_failures: Failed attempts to get a response of an endpoint, and responses that broke off, by
            the reason; sorted. An attempt that is followed by a successful one is counted here only.
    """

    connections_refused: int = 0
    upstream_failed: int = 0
    upstream_failures: Mapping[Termination, int] = field(default_factory=dict[Termination, int])

    @property
    def requests_by_class(self) -> Mapping[int, int]:
        """All requests, by the first digit of the status; no count ever goes back."""
        return self.all_by_class()

    @override
    def own_families(self) -> Iterator[MetricFamily]:
        """As `ProxyStatistics.own_families`."""
        refused = "Connections of clients that were closed at once, since there were too many."
        yield counter("connections_refused", refused, self.connections_refused)
        failed = "Failed attempts to get a response of an endpoint."
        yield counter("upstream_failed", failed, self.upstream_failed)
        yield labelled(
            "upstream_failures",
            "Failed attempts to get a response of an endpoint, by reason.",
            "reason",
            _by_reason(
                self.upstream_failures, (reason for reason in Termination if reason.startswith("upstream_"))
            ),
        )


def shares(label: str, members: Mapping[str, Share]) -> Iterator[MetricFamily]:
    """The metrics of all *members*, told apart by *label*; none where there are no members."""
    if not members:
        return
    requests = {key: float(item.requests) for key, item in members.items()}
    failures = {key: float(item.failures) for key, item in members.items()}
    active = {key: float(item.active) for key, item in members.items()}
    text = f"Requests sent to each {label}."
    yield labelled(f"{label}_requests", text, label, requests, unbounded=True)
    text = f"Attempts to send a request to each {label} that failed."
    yield labelled(f"{label}_failures", text, label, failures, unbounded=True)
    text = f"Requests to each {label} that are under way now."
    yield labelled(f"{label}_active", text, label, active, kind=MetricKind.GAUGE, unbounded=True)


def _by_reason(counts: Mapping[Termination, int], reasons: Iterable[Termination]) -> dict[str, float]:
    # A rate needs a beginning: reasons that have not occurred yet are there with 0.
    return {reason.value: 0.0 for reason in reasons} | {
        reason.value: float(count) for reason, count in counts.items()
    }
