"""The counts of several worker processes as those of one proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from typing import Final, TypeVar

from typing_extensions import override

from ingresskit.traffic import (
    DURATION_BOUNDS,
    BackendStatistics,
    EndpointStatistics,
    InProcessStatistics,
    MetricFamily,
    counter,
    gauge,
    worse,
)

__all__ = ["WorkersStatistics", "ended", "merged"]

K = TypeVar("K")

_PLAIN: Final = tuple(item.name for item in fields(InProcessStatistics) if item.type in ("int", "float"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersStatistics(InProcessStatistics):
    """The counts of all worker processes since the pool was made, those that ended among them.

    They are as old as the last reading, a second at most. What a worker counted that was killed after the last
    one is lost.

    Attributes:
        workers: How many there should be.
        workers_serving: How many serve the present configuration.
        worker_restarts: How many were started in place of one that ended, or did not respond.
    """

    workers: int = 0
    workers_serving: int = 0
    worker_restarts: int = 0

    @override
    def own_families(self) -> Iterator[MetricFamily]:
        """As `ProxyStatistics.own_families`."""
        yield from InProcessStatistics.own_families(self)
        yield gauge("workers", "Worker processes that there should be.", self.workers)
        serving = "Worker processes that serve the present configuration."
        yield gauge("workers_serving", serving, self.workers_serving)
        restarts = "Worker processes started in place of one that failed."
        yield counter("worker_restarts", restarts, self.worker_restarts)


def merged(counts: Iterable[InProcessStatistics]) -> InProcessStatistics:
    """The sum of *counts*."""
    none = (0,) * (len(DURATION_BOUNDS) + 1)
    total = InProcessStatistics(durations=none, first_bytes=none)
    for one in counts:
        total = _plus(total, one)
    return replace(
        total,
        requests=dict(sorted(total.requests.items())),
        statuses=dict(sorted(total.statuses.items())),
        terminations=dict(sorted(total.terminations.items())),
        shadowed=dict(sorted(total.shadowed.items())),
        upstream_failures=dict(sorted(total.upstream_failures.items())),
        backends=dict(sorted(total.backends.items())),
        endpoints=dict(sorted(total.endpoints.items())),
    )


def ended(counts: InProcessStatistics) -> InProcessStatistics:
    """*counts* of a process that ended: nothing of it is open or under way; its endpoints are the others'."""
    return replace(
        counts,
        connections_open=0,
        http2_streams_open=0,
        tunnels_open=0,
        upstream_open=0,
        backends={key: replace(item, active=0) for key, item in counts.backends.items()},
        endpoints={},
    )


def _plus(first: InProcessStatistics, second: InProcessStatistics) -> InProcessStatistics:
    plain = {name: getattr(first, name) + getattr(second, name) for name in _PLAIN}
    return InProcessStatistics(
        **plain,
        requests={
            host: _sum(first.requests.get(host, {}), second.requests.get(host, {}))
            for host in first.requests.keys() | second.requests.keys()
        },
        statuses=_sum(first.statuses, second.statuses),
        terminations=_sum(first.terminations, second.terminations),
        shadowed=_sum(first.shadowed, second.shadowed),
        upstream_failures=_sum(first.upstream_failures, second.upstream_failures),
        durations=tuple(a + b for a, b in zip_longest(first.durations, second.durations, fillvalue=0)),
        first_bytes=tuple(a + b for a, b in zip_longest(first.first_bytes, second.first_bytes, fillvalue=0)),
        backends={
            key: first.backends.get(key, BackendStatistics()).plus(
                *_shares(second.backends.get(key, BackendStatistics()))
            )
            for key in first.backends.keys() | second.backends.keys()
        },
        endpoints={
            name: _endpoint(first.endpoints.get(name), second.endpoints.get(name))
            for name in first.endpoints.keys() | second.endpoints.keys()
        },
    )


def _shares(item: BackendStatistics) -> tuple[int, int, int]:
    return item.requests, item.failures, item.active


def _endpoint(first: EndpointStatistics | None, second: EndpointStatistics | None) -> EndpointStatistics:
    if first is None or second is None:
        return first or second or EndpointStatistics()
    return EndpointStatistics(
        requests=first.requests + second.requests,
        failures=first.failures + second.failures,
        active=first.active + second.active,
        ejections=first.ejections + second.ejections,
        health=worse(first.health, second.health),
    )


def _sum(first: Mapping[K, int], second: Mapping[K, int]) -> dict[K, int]:
    total = dict(first)
    for key, count in second.items():
        total[key] = total.get(key, 0) + count
    return total
