"""Worker processes of the in-process proxy as their owner sees them: each at the present routing table.

Each slot has a worker. It is brought up in this order: it starts, gets its settings, loads the present table,
and only then takes connections. Four things happen to it:

- a table is pushed: the worker gets what changed, serves it from the next request on, and acknowledges;
- it ends, does not respond in time or refuses a table: another worker of the pool takes connections from its
  sockets at once, and the slot gets a new worker, after a growing wait while its workers keep failing;
- it is renewed: its successor takes connections before it drains;
- the pool drains: all of them do, and end.

When the owner ends without a word, its workers notice, finish requests under way, and end.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from ingresskit._doubling import Doubling
from ingresskit.apply.workers.acceptors import Acceptors
from ingresskit.apply.workers.merging import WorkersStatistics, ended, merged
from ingresskit.apply.workers.options import WorkerOptions
from ingresskit.apply.workers.process import WORKER_PROGRAM, WorkerProcess
from ingresskit.apply.workers.records import receive_records
from ingresskit.apply.workers.sockets import ListeningSockets
from ingresskit.apply.workers.worker import UNSENDABLE, Worker
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate.control import pack_pickled
from ingresskit.render.inprocess import RoutingTable, table_change
from ingresskit.render.workers import SEATS, Begin, Change, Free
from ingresskit.traffic import InProcessStatistics

__all__ = ["WorkerPool"]

_logger = fact_logger(__name__)


class _Slot:
    """A place for one worker, filled anew each time that it becomes empty."""

    def __init__(self, index: int) -> None:
        self.index: int = index
        self.worker: Worker | None = None
        self.renewing: bool = False
        self.failures: int = 0


class WorkerPool:
    """Several processes with a proxy each, at one routing table and the same addresses.

    Args:
        settings: `ingresskit.proxy.ProxySettings` for each of them; *access_log* in it must be ``None``. Its
            values must be ones that can be pickled.
        options: How they are run; the defaults when ``None``.
        argv: The program of a worker.
        access_log: Called for each request of all workers, on the event loop: it must not block or raise.
        records_dropped: Called with the number of requests that are not reported, since too many were waiting.
    """

    def __init__(
        self,
        settings: object,
        *,
        options: WorkerOptions | None = None,
        argv: Sequence[str] = WORKER_PROGRAM,
        access_log: Callable[[AccessRecord], None] | None = None,
        records_dropped: Callable[[int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._options = options or WorkerOptions()
        self._argv = tuple(argv)
        self._access_log = access_log
        self._records_dropped = records_dropped
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._memory = -1
        self._secret = secrets.token_bytes(32)
        self._table: RoutingTable = RoutingTable()
        self._version: int = 0
        self._slots = [_Slot(index) for index in range(self._options.count)]
        # All processes that run, those that drain among them, by seat.
        self._workers: dict[int, Worker] = {}
        self._unfreed: set[int] = set()
        self._acceptors = Acceptors(self._options.response_timeout)
        self._stopping = False
        self._news = anyio.Event()
        self._ended_counts = InProcessStatistics()
        self._problem = ""
        self.restarts: int = 0

    async def __aenter__(self) -> Self:
        """Start the workers; they serve nothing before `serve` and `listen`."""
        async with AsyncExitStack() as stack:
            self._memory = os.memfd_create("limits", os.MFD_CLOEXEC)
            stack.callback(os.close, self._memory)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            self._tasks = tasks
            stack.callback(tasks.cancel_scope.cancel)
            stack.push_async_callback(self._end)
            for slot in self._slots:
                tasks.start_soon(self._keep, slot)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(exc, Exception):
            # Not for the tasks' group, which would wrap it: it was raised inside the context, not by a task.
            return await self._stack.__aexit__(None, None, None)
        return await self._stack.__aexit__(kind, exc, trace)

    # What its owner wants of it.

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that serve, in the order of their slots."""
        return tuple([worker.process.pid for worker in self._serving()])

    @property
    def problem(self) -> str:
        """Why no worker serves the present table, as a clause; empty while one does."""
        if self._serving():
            return ""
        return self._problem or "no worker process has started yet"

    def statistics(self) -> WorkersStatistics:
        """The counts of all workers, as they were read last."""
        counts = merged([self._ended_counts, *(worker.counts for worker in self._workers.values())])
        return WorkersStatistics(
            **{name: getattr(counts, name) for name in InProcessStatistics.__dataclass_fields__},
            workers=len(self._slots),
            workers_serving=len(self._serving()),
            worker_restarts=self.restarts,
        )

    async def serve(self, table: RoutingTable) -> None:
        """Serve *table* in all workers; returns when they do. Those that do not acknowledge it are replaced.

        Raises:
            ApplyError: No worker can read it, or none runs.
        """
        before, base = self._table, self._version
        order = Change(version=base + 1, base=base, change=table_change(before, table))
        try:
            packed = pack_pickled(order)
        except UNSENDABLE as exc:
            raise ApplyError(f"a policy's filters cannot be sent to worker processes: {exc}") from exc
        self._table, self._version = table, order.version
        refusals: list[str] = []

        async def push(worker: Worker) -> None:
            found = await worker.ask_packed(packed, self._options.push_timeout)
            if "serves" in found:
                worker.version = order.version
            elif not worker.failure:
                refusals.append(str(found.get("unread") or found.get("refused")))

        asked = [slot.worker for slot in self._slots if slot.worker is not None and not slot.worker.failure]
        async with anyio.create_task_group() as tasks:
            for worker in asked:
                tasks.start_soon(push, worker)
        if refusals and not self._serving():
            self._table, self._version = before, base
            raise ApplyError(f"the worker processes cannot read their routes: {refusals[0]}")
        for worker in asked:
            if worker.version != order.version:
                worker.fail(f"did not take its routes: {refusals[0] if refusals else 'no response'}")
        if not self._serving():
            with anyio.move_on_after(self._options.start_timeout.total_seconds()):
                while not self._serving():
                    await self._news.wait()
        if not self._serving():
            raise ApplyError(f"no worker process serves: {self.problem}")

    async def listen(self, sockets: ListeningSockets) -> None:
        """Take connections at *sockets*, which belong to the pool from now on. Returns once workers do.

        Raises:
            ApplyError: No worker takes connections.
        """
        self._acceptors.sockets = sockets
        with anyio.move_on_after(self._options.start_timeout.total_seconds()):
            await self._assign()
            while not self._acceptors.is_complete:
                await self._news.wait()
        if self._acceptors.is_empty:
            raise ApplyError(f"no worker process takes connections: {self.problem}")

    async def renew(self) -> None:
        """Replace the workers one after the other: each takes no more connections once its successor does."""
        for slot in self._slots:
            before = slot.worker
            if before is None:
                continue
            slot.renewing = True
            before.wake()
            while slot.renewing and not self._stopping:
                await self._news.wait()

    async def drain(self, grace: timedelta) -> None:
        """Take no more connections, and return when requests under way are done, or after *grace*."""
        self._stopping = True
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.wake()
        async with anyio.create_task_group() as tasks:
            for worker in list(self._workers.values()):
                tasks.start_soon(self._retire, worker, grace)
        self._acceptors.close()

    # A slot and its worker.

    async def _keep(self, slot: _Slot) -> None:
        while not self._stopping:
            began = anyio.current_time()
            worker = await self._bring_up(slot)
            before = slot.worker
            if worker is None:
                if slot.renewing and before is not None:
                    slot.renewing = False
                    self._tell()
                    worker = before
            else:
                slot.worker = worker
                slot.renewing = False
                self._problem = ""
                await self._assign()
                self._tell()
                if before is not None:
                    self._group.start_soon(self._retire, before, self._options.drain_grace)
            if worker is not None:
                await self._follow(worker, slot)
                if not worker.failure:
                    continue  # its successor, or the end
                slot.worker = None
                self._tell()
                await self._assign()
            if self._stopping:
                return
            forgiven = anyio.current_time() - began >= self._options.process.restart_forgiven.total_seconds()
            slot.failures = 1 if forgiven else slot.failures + 1
            waits = Doubling(self._options.process.restart_first, self._options.process.restart_ceiling)
            await anyio.sleep(waits.after(slot.failures).total_seconds())
            self.restarts += 1

    async def _bring_up(self, slot: _Slot) -> Worker | None:
        """A worker at the present table; ``None``, after a word in the log, when there can be none now."""
        seat = min(set(range(SEATS)) - self._workers.keys() - self._unfreed, default=None)
        if seat is None:
            self._failed(None, "too many worker processes that drain", slot)
            return None
        try:
            worker = Worker(WorkerProcess(self._argv), seat, self._options)
        except ApplyError as exc:
            self._failed(None, str(exc), slot)
            return None
        self._workers[seat] = worker
        self._group.start_soon(self._bury, worker)
        with anyio.move_on_after(self._options.start_timeout.total_seconds()) as starting:
            await self._begin(worker)
            while not worker.failure and worker.version != self._version:
                await self._load(worker)
        if starting.cancelled_caught:
            worker.fail("did not start in time")
        if worker.failure:
            self._failed(worker, worker.failure, slot)
            return None
        _logger.info("worker serves", extra={"pid": worker.process.pid, "slot": slot.index})
        return worker

    async def _begin(self, worker: Worker) -> None:
        take = self._access_log
        records, its_records = (None, None) if take is None else socket.socketpair()
        order = Begin(
            settings=self._settings,
            seat=worker.seat,
            secret=self._secret,
            records=records is not None,
            grace=self._options.drain_grace,
        )
        descriptors = [self._memory, *([] if its_records is None else [its_records.fileno()])]
        try:
            found = await worker.ask(order, self._options.start_timeout, descriptors)
        finally:
            if its_records is not None:
                its_records.close()
        if "pid" not in found:
            worker.fail(str(found.get("unread") or found.get("refused") or "did not begin"))
        if records is not None and take is not None:
            self._group.start_soon(receive_records, records, take, self._records_dropped)

    async def _load(self, worker: Worker) -> None:
        """Push all of the present table. Another one may be the present one after that."""
        version = self._version
        whole = table_change(RoutingTable(), self._table)
        found = await worker.ask(Change(version=version, base=0, change=whole), self._options.start_timeout)
        if "serves" not in found:
            worker.fail(f"cannot read its routes: {found.get('unread') or found.get('refused')}")
        worker.version = version

    async def _follow(self, worker: Worker, slot: _Slot) -> None:
        """Return when *worker* fails, or is to have a successor."""
        while not (worker.failure or slot.renewing or self._stopping):
            await self._free_seats(worker)
            await worker.read_counts()
            await worker.wait_news(self._options.statistics_interval)
        if worker.failure and not self._stopping:
            self._failed(worker, worker.failure, slot)

    def _failed(self, worker: Worker | None, reason: str, slot: _Slot) -> None:
        self._problem = f"a worker process {reason}"
        pid = None if worker is None else worker.process.pid
        if not self._stopping:
            _logger.error("worker failed", extra={"pid": pid, "slot": slot.index, "reason": reason})
        if worker is not None:
            self._group.start_soon(self._remove, worker)

    async def _remove(self, worker: Worker) -> None:
        """End a worker that failed; one that drains by itself has time for that."""
        worker.process.hang_up()
        if worker.drains:
            with anyio.move_on_after(self._options.drain_grace.total_seconds()):
                await worker.ended.wait()
        worker.process.send(signal.SIGKILL)

    async def _retire(self, worker: Worker, grace: timedelta) -> None:
        """Let a worker drain and end."""
        await worker.drain(grace, self._options.linger)
        with anyio.move_on_after(self._options.response_timeout.total_seconds()):
            await worker.ended.wait()
        worker.process.send(signal.SIGKILL)
        await worker.ended.wait()

    async def _bury(self, worker: Worker) -> None:
        """Wait for the end of a process, however it comes."""
        status = await worker.process.wait_ended()
        worker.fail(f"ended {status}")
        self._ended_counts = merged([self._ended_counts, ended(worker.counts)])
        del self._workers[worker.seat]
        self._unfreed.add(worker.seat)
        self._acceptors.forget(worker)
        worker.ended.set()
        if not self._stopping:
            await self._assign()

    async def _free_seats(self, worker: Worker) -> None:
        for seat in sorted(self._unfreed):
            if "freed" in await worker.ask(Free(seat=seat), self._options.response_timeout):
                self._unfreed.discard(seat)

    async def _end(self) -> None:
        """End all at once. Those that were drained have ended."""
        self._stopping = True
        with anyio.CancelScope(shield=True):
            for worker in list(self._workers.values()):
                worker.process.send(signal.SIGKILL)
            for worker in list(self._workers.values()):
                await worker.ended.wait()
        self._acceptors.close()

    # Who takes connections.

    def _serving(self) -> list[Worker]:
        found = [slot.worker for slot in self._slots]
        return [one for one in found if one is not None and not one.failure and one.version == self._version]

    async def _assign(self) -> None:
        """Give each group of sockets to its slot's worker, or while that has none to another one."""
        if not self._stopping:
            await self._acceptors.assign([slot.worker for slot in self._slots])
            self._tell()

    # Small things.

    @property
    def _group(self) -> TaskGroup:
        if self._tasks is None:
            raise ConfigurationError("open it first: async with WorkerPool(…) as pool")
        return self._tasks

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()
