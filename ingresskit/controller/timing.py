"""When a pass begins: after a quiet moment, after a wait that grows with each failure, or by the clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import anyio

from ingresskit._doubling import Doubling
from ingresskit.graph import Certificate
from ingresskit.models import Snapshot
from ingresskit.sources import Source

__all__ = ["next_turn", "retry_delay", "settle"]


def retry_delay(failures: int, first: timedelta, ceiling: timedelta, jitter: float) -> timedelta:
    """How long to wait after *failures* failures in a row.

    Args:
        failures: 1 or more.
        first: The wait after the first failure, before jitter.
        ceiling: The longest wait.
        jitter: 0 up to 1: how much of half the wait is left out, so that controllers that failed
            together do not try again together.

    Returns:
        *first*, doubled with each further failure, at most *ceiling*, less up to half of it.
    """
    whole = Doubling(first, ceiling).after(failures)
    return whole - whole * (jitter / 2)


async def settle(source: Source, snapshot: Snapshot, quiet: timedelta, ceiling: timedelta) -> Snapshot:
    """The snapshot once *source* has been quiet for *quiet*, or when *ceiling* has passed.

    Args:
        source: Whose changes are batched.
        snapshot: The one whose arrival began the wait.
        quiet: How long nothing may change.
        ceiling: The longest wait, counted from the call.

    Returns:
        The newest snapshot; *snapshot* itself when nothing followed it.
    """
    end = anyio.current_time() + ceiling.total_seconds()
    while True:
        left = min(quiet.total_seconds(), end - anyio.current_time())
        if left <= 0:
            return source.snapshot() or snapshot
        with anyio.move_on_after(left) as scope:
            await source.wait_changed(snapshot.revision)
        if scope.cancelled_caught:
            return source.snapshot() or snapshot
        snapshot = source.snapshot() or snapshot


def next_turn(certificates: Iterable[Certificate], now: datetime) -> datetime | None:
    """The first moment after *now* at which a certificate begins or ceases to be valid.

    That is when a translation of the same objects says something else.
    """
    turns = (turn for item in certificates for turn in (item.not_before, item.not_after) if turn > now)
    return min(turns, default=None)
