"""Several processes, each with an event loop of its own, one network and one time, all inside one thread.

A process can be stopped (its loop does not run, time goes on), cut off, or killed; requests and answers
take their own time, also when nobody waits for them any more.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from ingresskit.controller.leader import LeaderElector, Term
from ingresskit.errors import ApiError, TransportError
from ingresskit.kube import Response
from tests.unit.controller.lease_server import LeaseServer, NoWatches


class _NeverWaiting(selectors.PollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(_NeverWaiting())

    def time(self) -> float:
        return self._world.now

    def next_at(self) -> float:
        """When this loop has something to do."""
        if getattr(self, "_ready"):  # noqa: B009 - there is no public way to ask
            return self._world.now
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009
        return min((timer.when() for timer in timers if not timer.cancelled()), default=float("inf"))

    def step(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()


class World:
    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311
        self.now = 1000.0
        self.server = LeaseServer()
        self.processes: list[Process] = []
        self.slowness = 0.05
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.most_leaders = 0
        self.stale_writes = 0
        self.writes = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, until: float) -> None:
        while True:
            awake = [process for process in self.processes if not process.stopped]
            due = min([process.loop.next_at() for process in awake], default=float("inf"))
            event = self._events[0][0] if self._events else float("inf")
            moment = min(due, event, until)
            # Also just before time goes on, and half-way: terms end by the clock alone.
            for now in ((self.now + moment) / 2, moment):
                self.now = max(self.now, now)
                self._look()
            if moment >= until and min(due, event) > until:
                return
            if event <= self.now:
                heapq.heappop(self._events)[2]()
            for process in awake:
                if process.loop.next_at() <= self.now + 1e-9:
                    process.loop.step()
            self._look()

    def leaders(self) -> list[Process]:
        return [process for process in self.processes if process.elector.is_leader]

    def _look(self) -> None:
        self.most_leaders = max(self.most_leaders, len(self.leaders()))

    def close(self) -> None:
        for process in self.processes:
            process.close()


class Process(NoWatches):
    """A process with an elector, and work that writes as often as it may."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.loop = _Loop(world)
        self.stopped = False
        self.cut_off = False
        # Clocks may be a tenth too fast or too slow, and begin anywhere.
        rate, offset = world.rng.uniform(0.95, 1.05), world.rng.uniform(0, 1e6)
        self.wall = datetime(2026, 11, 1, tzinfo=UTC)
        self.elector = LeaderElector(
            self,
            namespace="infra",
            identity=name,
            clock=lambda: world.now * rate + offset,
            wall_clock=lambda: self.wall,
            rng=Random(world.rng.random()),  # noqa: S311
        )
        self.task = self.loop.create_task(self.elector.run(self._work))
        world.processes.append(self)

    async def _work(self, term: Term) -> None:
        while True:
            if term.is_valid():
                self.world.writes += 1
                # Whoever else could write at this moment would fight.
                self.world.stale_writes += self.world.leaders() != [self]
            await asyncio.sleep(self.world.rng.uniform(0.05, 1.5))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        world = self.world
        future: asyncio.Future[Response] = self.loop.create_future()

        def answer(result: bytes | Exception) -> None:
            if self.loop.is_closed():
                return
            self.loop.call_soon(settle, result)

        def settle(result: bytes | Exception) -> None:
            if future.done():
                return
            if isinstance(result, bytes):
                future.set_result(Response(status=200, body=result))
            else:
                future.set_exception(result)

        def arrive() -> None:
            result: bytes | Exception
            try:
                result = world.server.handle(method, body)
            except ApiError as exc:
                result = exc
            if not self.cut_off:
                world.at(world.now + world.rng.expovariate(1 / world.slowness), lambda: answer(result))

        if self.cut_off:
            if world.rng.random() < 0.5:
                raise TransportError("connection refused")
        else:
            world.at(world.now + world.rng.expovariate(1 / world.slowness), arrive)
        return await future

    def kill(self) -> None:
        """As SIGKILL: nothing is given back."""
        self.world.processes.remove(self)
        self.close(gently=False)

    def close(self, *, gently: bool = True) -> None:
        self.cut_off = True
        self.task.cancel()
        for _ in range(1000 if gently else 200):
            if self.task.done():
                break
            self.world.now += 0.01
            self.loop.step()
        self.loop.close()


def jump(wall: datetime, rng: Random) -> datetime:
    return wall + timedelta(days=rng.choice([-3650, 3650, -1, 1]))
