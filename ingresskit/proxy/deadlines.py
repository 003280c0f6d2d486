"""Deadlines of many connections by one timer.

A connection moves its deadline at every read. Doing that with a timer handle each time costs more
than parsing a request does. So a deadline is an attribute, and each connection lies in one bucket
of time, not later than its deadline; when the bucket comes up, the connection is looked at: it is
due, or it is put into a later bucket. Moving a deadline back is then an assignment.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol

__all__ = ["NEVER", "Deadlines", "Watched"]

NEVER = float("inf")
_BUCKETS_PER_SECOND = 20


class Watched(Protocol):
    """What has a deadline. The two attributes belong to `Deadlines`; read them, do not write them."""

    deadline: float
    bucket: int | None

    def deadline_passed(self) -> None:
        """Called once when the deadline has passed; at most 0.1 s late on an idle loop."""
        ...


class Deadlines:
    """The deadlines of everything one proxy watches."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        """The event loop."""
        self.recent: float = time.monotonic()
        """The time, as of the last bytes that arrived: near enough for deadlines, and read at no cost."""
        self._buckets: dict[int, set[Watched]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_bucket = -1

    def now(self) -> float:
        """The time. The clock of both event loops."""
        self.recent = time.monotonic()
        return self.recent

    def set(self, item: Watched, deadline: float) -> None:
        """From now on *item* is due at *deadline* (of the loop's clock), and at no other time."""
        item.deadline = deadline
        bucket = item.bucket
        if bucket is None:
            if deadline == NEVER:
                return
        elif deadline * _BUCKETS_PER_SECOND >= bucket - 1:
            return  # it lies early enough: so it is at most requests
        self._insert(item, int(deadline * _BUCKETS_PER_SECOND) + 1)

    def forget(self, item: Watched) -> None:
        """*item* is not due any more, and nothing here refers to it."""
        item.deadline = NEVER
        if item.bucket is not None:
            if (items := self._buckets.get(item.bucket)) is not None:
                items.discard(item)
            item.bucket = None

    def close(self) -> None:
        """Stop the timer and let go of everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._buckets.clear()
        self._order.clear()

    def _insert(self, item: Watched, bucket: int) -> None:
        item.bucket = bucket
        items = self._buckets.get(bucket)
        if items is not None:
            items.add(item)
            return
        self._buckets[bucket] = {item}
        heapq.heappush(self._order, bucket)
        if self._timer is None or bucket < self._timer_bucket:
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._order:
            self._timer_bucket = self._order[0]
            self._timer = self.loop.call_at(self._timer_bucket / _BUCKETS_PER_SECOND, self._tick)

    def _tell(self, item: Watched) -> None:
        try:
            item.deadline_passed()
        except Exception as exc:  # noqa: BLE001 - told to the loop, as a fault of any callback is
            # Others are due at the same moment, and would never be told.
            self.loop.call_exception_handler(
                {"message": "a deadline was not handled", "exception": exc, "protocol": item}
            )

    def _tick(self) -> None:
        self._timer = None
        now = self.now()
        # A loop may call a little early; one bucket of patience keeps this from spinning.
        current = max(int(now * _BUCKETS_PER_SECOND), self._timer_bucket)
        while self._order and self._order[0] <= current:
            bucket = heapq.heappop(self._order)
            for item in self._buckets.pop(bucket):
                if item.bucket != bucket:
                    continue  # it was put into an earlier bucket since, or forgotten by one of these
                item.bucket = None
                if item.deadline <= now + 0.001:
                    item.deadline = NEVER
                    self._tell(item)
                elif item.deadline != NEVER:
                    self._insert(item, max(int(item.deadline * _BUCKETS_PER_SECOND) + 1, current + 1))
        self._schedule()
