"""One worker of a pool: what is asked of it, and whether it still responds."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import anyio

from ingresskit.apply.workers.options import WorkerOptions
from ingresskit.apply.workers.process import WorkerProcess
from ingresskit.errors import ApplyError
from ingresskit.render.delegate.control import pack_pickled
from ingresskit.render.workers import Count, Drain, WorkerOrder, read_statistics
from ingresskit.traffic import InProcessStatistics

__all__ = ["UNSENDABLE", "Worker"]

# What `pickle` raises for functions without a name, local classes, locks.
UNSENDABLE: Final = (pickle.PicklingError, AttributeError, TypeError)

# Between the end of a connection and that of its process.
_END_SECONDS: Final = 0.5


class Worker:
    """A process, and what its pool knows of it.

    Attributes:
        seat: Its number among those that run.
        version: Of the table that it serves; 0: none.
        failure: What is wrong with it, as the rest of a sentence; empty while nothing is.
        drains: It ends by itself, and finishes its requests before.
        counts: As they were read last.
        ended: Set once the process has ended and its counts are among those of ended ones.
    """

    def __init__(self, process: WorkerProcess, seat: int, options: WorkerOptions) -> None:
        self.process: WorkerProcess = process
        self.seat: int = seat
        self._options = options
        self.version: int = 0
        self.failure: str = ""
        self.drains: bool = False
        self.counts: InProcessStatistics = InProcessStatistics()
        self.ended: anyio.Event = anyio.Event()
        self._news = anyio.Event()

    def fail(self, reason: str) -> None:
        """It is of no more use. The first reason counts."""
        self.failure = self.failure or reason
        self.wake()

    def wake(self) -> None:
        """Let `wait_news` return."""
        self._news.set()

    async def wait_news(self, longest: timedelta) -> None:
        """Return after a call of `wake`, or after *longest*."""
        with anyio.move_on_after(longest.total_seconds()):
            await self._news.wait()
        if not self.failure:
            self._news = anyio.Event()

    async def ask(
        self, order: WorkerOrder, longest: timedelta, descriptors: Sequence[int] = ()
    ) -> dict[str, object]:
        """What it responds; nothing when it fails, which it does where there is no response in time."""
        try:
            packed = pack_pickled(order)
        except UNSENDABLE as exc:
            self.fail(f"cannot be sent its settings or routes: {exc}")
            return {}
        return await self.ask_packed(packed, longest, descriptors)

    async def ask_packed(
        self, packed: bytes, longest: timedelta, descriptors: Sequence[int] = ()
    ) -> dict[str, object]:
        """The same for an order that was packed for several workers."""
        if self.failure:
            return {}
        try:
            with anyio.fail_after(longest.total_seconds()):
                return await self.process.ask_packed(packed, descriptors)
        except TimeoutError:
            self.fail(f"did not respond for {longest.total_seconds():g} s")
        except (ApplyError, ValueError):
            with anyio.move_on_after(_END_SECONDS):
                await self.ended.wait()
            if not self.failure:
                # Somebody else ended it, and it finishes its requests.
                self.drains = True
                self.fail("drains, which its controller did not ask for")
        return {}

    async def read_counts(self) -> None:
        """Read its counts; it fails where it does not respond."""
        found = await self.ask(Count(), self._options.response_timeout)
        if found:
            self._take_counts(found)

    async def drain(self, grace: timedelta, linger: timedelta) -> None:
        """Return when it has drained. Its last counts are taken then."""
        longest = grace + linger + self._options.response_timeout
        found = await self.ask(Drain(grace=grace, linger=min(grace, linger)), longest)
        if found:
            self._take_counts(found)
        self.process.hang_up()

    def _take_counts(self, found: dict[str, object]) -> None:
        try:
            self.counts = read_statistics(found)
        except ValueError as exc:
            self.fail(str(exc))
