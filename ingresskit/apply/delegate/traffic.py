"""Records and counts of a program and its delegate, put together: each request is in them once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeVar

from ingresskit.graph import Termination
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DELEGATE
from ingresskit.render.delegate.control import DelegateCounts
from ingresskit.traffic import BackendStatistics, ProxyStatistics, worse

__all__ = ["added", "front_record", "with_delegate"]

StatisticsT = TypeVar("StatisticsT", bound=ProxyStatistics)

# The delegate reports these itself: it had the request.
_SEEN: Final = frozenset({Termination.CLIENT_LEFT, Termination.CLIENT_TIMEOUT})


def front_record(record: AccessRecord) -> AccessRecord | None:
    """What the program's own record of a request is worth.

    Returns:
        The record itself for requests that the program served; ``None`` for one that it handed over, which the
        delegate reports; without a backend for one that it could not hand over.
    """
    if record.backend != DELEGATE:
        return record
    if record.upstream_status is not None or record.termination in _SEEN:
        return None
    return replace(record, backend=None, endpoint="", attempts=0, tried=())


def with_delegate(front: StatisticsT, counts: DelegateCounts) -> StatisticsT:
    """The counts of a program with those of its delegate; the delegate itself is no backend.

    Args:
        front: Those of the program.
        counts: Those of the delegate.
    """
    backends = {key: item for key, item in front.backends.items() if key != DELEGATE}
    for key, numbers in counts.backends.items():
        backends[key] = backends.get(key, _NOTHING).plus(*numbers)
    unwell = dict(front.unwell)
    for endpoint, health in counts.unwell.items():
        unwell[endpoint] = worse(unwell.get(endpoint, health), health)
    return replace(
        front,
        retries=front.retries + counts.retries,
        shadowed=_sum(front.shadowed, counts.shadowed),
        unwell=MappingProxyType(dict(sorted(unwell.items()))),
        ejections=counts.ejections,
        delegated=sum(sum(classes.values()) for classes in counts.requests.values()),
        backends=MappingProxyType(dict(sorted(backends.items()))),
    )


def added(first: DelegateCounts, second: DelegateCounts) -> DelegateCounts:
    """The counts of a process that ended and of the next one; what is open now is the second's."""
    return replace(
        second,
        requests={
            host: _sum(first.requests.get(host, {}), second.requests.get(host, {}))
            for host in first.requests.keys() | second.requests.keys()
        },
        terminations=_sum(first.terminations, second.terminations),
        upstream_failures=_sum(first.upstream_failures, second.upstream_failures),
        upstream_failed=first.upstream_failed + second.upstream_failed,
        retries=first.retries + second.retries,
        shadowed=_sum(first.shadowed, second.shadowed),
        backends={
            key: (
                first.backends.get(key, _NONE)[0] + now[0],
                first.backends.get(key, _NONE)[1] + now[1],
                now[2],
            )
            for key, now in second.backends.items()
        },
    )


_NONE: Final = (0, 0, 0)
_NOTHING: Final = BackendStatistics()
K = TypeVar("K")


def _sum(first: Mapping[K, int], second: Mapping[K, int]) -> dict[K, int]:
    return {
        key: first.get(key, 0) + second.get(key, 0) for key in [*first, *(k for k in second if k not in first)]
    }
