"""What is to be done next: keys, each at most once at a time."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Generic, TypeVar

import anyio

from ingresskit._doubling import Doubling
from ingresskit.errors import ConfigurationError

__all__ = ["QueueShutDown", "WorkQueue"]

T = TypeVar("T", bound=Hashable)


class QueueShutDown(Exception):
    """Raised by `WorkQueue.get` when there will be no more work."""


class WorkQueue(Generic[T]):
    """A queue of keys for any number of workers on one event loop.

    What it promises: a key is never with two workers; however often it is added while it waits, it is
    worked once; if it is added while it is worked, it is worked once more; of the keys that wait, the one
    with the highest priority is first, and of equals the one that came first; of several delays for one
    key the earliest counts.
    """

    def __init__(
        self,
        *,
        initial_delay: timedelta = timedelta(milliseconds=5),
        longest_delay: timedelta = timedelta(seconds=1000),
        rate: float = 10.0,
        burst: int = 100,
    ) -> None:
        """Begin empty.

        Args:
            initial_delay: The delay of a key's first retry; it doubles with each.
            longest_delay: Where it stops doubling.
            rate: Retries a second, over all keys, once *burst* are used up.
            burst: How many retries may be made at once.

        Raises:
            ConfigurationError: One of them is not more than zero.

        Source: the figures of client-go's default controller rate limiter.
        """
        if min(initial_delay, longest_delay) <= timedelta(0) or rate <= 0 or burst <= 0:
            raise ConfigurationError("the delays, rate and burst of a work queue must be more than zero")
        self._own_delays = Doubling(initial_delay, longest_delay)
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._tokens_at: float | None = None
        self._waiting: dict[int, OrderedDict[T, None]] = {}
        self._priorities: dict[T, int] = {}  # of the keys that wait, and of those to be worked again
        self._working: set[T] = set()
        self._again: set[T] = set()
        self._delayed: dict[T, tuple[float, int, int]] = {}
        self._timers: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._retries: dict[T, int] = {}
        self._wake = anyio.Event()
        self._shut = False
        self._drain = False
        self._counts = dict.fromkeys(("adds", "gets", "retries"), 0)

    def __len__(self) -> int:
        """How many keys wait (without those delayed, and those at work)."""
        return sum(len(keys) for keys in self._waiting.values())

    def add(self, key: T, *, priority: int = 0) -> None:
        """Have *key* worked. One that waits already takes the higher of the two priorities.

        Does nothing after `shut_down`.
        """
        if self._shut:
            return
        self._counts["adds"] += 1
        if (delayed := self._delayed.get(key)) is not None:
            priority = max(priority, delayed[1])
            del self._delayed[key]
        held = self._priorities.get(key)
        if key in self._working:
            self._again.add(key)
            self._priorities[key] = priority if held is None else max(priority, held)
            return
        if held is not None:
            if held >= priority:
                return
            self._take_out(key, held)
        self._priorities[key] = priority
        self._waiting.setdefault(priority, OrderedDict())[key] = None
        self._notify()

    def add_after(self, key: T, delay: timedelta, *, priority: int = 0) -> None:
        """Add *key* when *delay* has passed, or at once if it is not more than zero."""
        if delay <= timedelta(0):
            self.add(key, priority=priority)
        elif not self._shut:
            due = anyio.current_time() + delay.total_seconds()
            if (held := self._delayed.get(key)) is not None:
                due, priority = min(due, held[0]), max(priority, held[1])
            number = next(self._order)
            self._delayed[key] = (due, priority, number)
            heapq.heappush(self._timers, (due, number, key))
            self._notify()

    def add_rate_limited(self, key: T, *, priority: int = 0) -> None:
        """Add *key* after a delay that doubles each time, until `forget`."""
        retries = self._retries.get(key, 0)
        self._retries[key] = retries + 1
        self._counts["retries"] += 1
        own, shared = self._own_delays.after(retries + 1), timedelta(seconds=self._shared_delay())
        self.add_after(key, max(own, shared), priority=priority)

    def forget(self, key: T) -> None:
        """The next retry of *key* is a first one. For when it was worked with success."""
        self._retries.pop(key, None)

    def num_requeues(self, key: T) -> int:
        """How many retries *key* has had since `forget`."""
        return self._retries.get(key, 0)

    @asynccontextmanager
    async def get(self) -> AsyncGenerator[T, None]:
        """The next key, at work for as long as the context lasts. Waits until there is one.

        Raises:
            QueueShutDown: There will be none.
        """
        key = await self._next()
        try:
            yield key
        finally:
            self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                priority = self._priorities.pop(key)
                self._waiting.setdefault(priority, OrderedDict())[key] = None
                self._priorities[key] = priority
            self._notify()

    def shut_down(self, *, drain: bool = True) -> None:
        """Take no more keys, and drop the delayed ones. Those that wait are dropped too without *drain*."""
        self._shut, self._drain = True, drain
        self._delayed.clear()
        self._timers.clear()
        if not drain:
            self._waiting.clear()
            self._priorities.clear()
            self._again.clear()
        self._notify()

    async def wait_idle(self) -> None:
        """Return once nothing waits and nothing is at work; delayed keys do not count."""
        while len(self) or self._working:
            await self._wake.wait()

    def statistics(self) -> Mapping[str, int]:
        """Counts: keys ``waiting``, ``delayed``, ``working``, and ``adds``, ``gets``, ``retries`` so far."""
        return {
            **self._counts,
            "waiting": len(self),
            "delayed": len(self._delayed),
            "working": len(self._working),
        }

    async def _next(self) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._promote()
            for priority in sorted(self._waiting, reverse=True):
                key, _ = self._waiting[priority].popitem(last=False)
                if not self._waiting[priority]:
                    del self._waiting[priority]
                del self._priorities[key]
                self._working.add(key)
                self._counts["gets"] += 1
                return key
            if self._shut and not self._again:
                raise QueueShutDown
            due = self._timers[0][0] if self._timers else float("inf")
            wake = self._wake
            with anyio.CancelScope(deadline=due):
                await wake.wait()

    def _promote(self) -> None:
        """Move the delayed keys that are due to those that wait."""
        now = anyio.current_time()
        while self._timers and self._timers[0][0] <= now:
            _, number, key = heapq.heappop(self._timers)
            held = self._delayed.get(key)
            if held is not None and held[2] == number:
                due, priority, _ = held
                if due <= now:
                    self.add(key, priority=priority)
                    self._counts["adds"] -= 1

    def _take_out(self, key: T, priority: int) -> None:
        del self._waiting[priority][key]
        if not self._waiting[priority]:
            del self._waiting[priority]

    def _shared_delay(self) -> float:
        """Take a token from the bucket that all keys share; gives the seconds until it is there."""
        now = anyio.current_time()
        if self._tokens_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._tokens_at) * self._rate)
        self._tokens_at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def _notify(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()
