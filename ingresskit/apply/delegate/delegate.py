"""The delegate as its owner sees it: a process that is there while there are routes for it.

Four things happen to it:

- the first table with routes starts it, and each further table is pushed and acknowledged;
- it ends by itself: it is started again, and gets what it served;
- the controller is killed: it serves on, and the next controller adopts it, with its routes;
- the last route is gone for a while: it is ended.

Nothing here raises because the delegate does not work: its routes respond 503 then, and all others go on.
"""

from __future__ import annotations

import json
import os
import pickle
import secrets
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import anyio
import anyio.to_thread

from ingresskit.apply.delegate.link import Link
from ingresskit.apply.delegate.options import DelegateOptions
from ingresskit.apply.delegate.traffic import added
from ingresskit.apply.private_folder import private_folder
from ingresskit.apply.process import ProxyProcess
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DelegateSettings
from ingresskit.render.delegate.control import (
    PROTOCOL,
    Count,
    DelegateCounts,
    Follow,
    Hello,
    Serve,
    Settle,
    read_counts,
    read_record,
)
from ingresskit.render.inprocess import RoutingTable

__all__ = ["Delegate"]

_logger = fact_logger(__name__)

_POLL_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 0.2
_UNTAKEN_SECONDS: Final = 5.0
_LONGEST_PATH: Final = 107  # sockaddr_un(7)
# What `pickle` raises for functions without a name, local classes, locks.
_UNSENDABLE: Final = (pickle.PicklingError, AttributeError, TypeError)


class Delegate:
    """The in-process data plane as a process beside a proxy program.

    Args:
        settings: Of the program in front.
        state: A folder for its sockets, pid and output: made with mode 0700 when it is not there. Its path must
            be short: sockets are in it.
        options: How it is run; the defaults when ``None``.
        access_log: Called for each of its requests, on the event loop: it must not block or raise.

    Raises:
        ConfigurationError: The path of *state* is too long for a socket in it.
    """

    def __init__(
        self,
        settings: DelegateSettings,
        *,
        state: Path,
        options: DelegateOptions | None = None,
        access_log: Callable[[AccessRecord], None] | None = None,
    ) -> None:
        self._settings = settings
        self._state = state.absolute()
        longest = str(self._state / "control.sock")
        if (size := len(os.fsencode(longest))) > _LONGEST_PATH:
            raise ConfigurationError(
                f"{longest} is too long for a socket: {size} bytes, {_LONGEST_PATH} at most;"
                " choose a shorter folder"
            )
        self._options = options or DelegateOptions()
        self._access_log = access_log
        self._process: ProxyProcess | None = None
        self._stopping = False
        # It has not acknowledged in time, and not since.
        self._late = False
        self._scope: anyio.CancelScope | None = None
        self._stack = AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup | None = None
        # What is wanted, what the front is known to need no more than, and how far the delegate is.
        self._owner = secrets.token_hex(8)
        self._table: RoutingTable | None = None
        self._settled = RoutingTable()
        self._version = 0
        self._acknowledged = 0
        self._settling: list[tuple[float, int]] = []
        self._idle_since: float | None = None
        self._wake = anyio.Event()
        self._advanced = anyio.Event()
        self._counts = self._ended_counts = DelegateCounts()
        self._counted = 0
        self._problem = ""
        self.restarts: int = 0

    @property
    def socket(self) -> Path:
        """Where the program in front hands requests over. There is nothing while it serves no route."""
        return self._state / "front.sock"

    @property
    def pid(self) -> int | None:
        """The process; ``None`` when none runs."""
        return None if self._process is None else self._process.pid

    @property
    def problem(self) -> str:
        """Why it does not serve what it should, as a clause; empty while it does, or is not needed."""
        if self._process is not None and self._process.problem:
            return self._process.problem
        return self._problem

    def counts(self) -> DelegateCounts:
        """The counts of its processes since this object was made, as they were read last.

        Of a process that was adopted also those from before.
        """
        return added(self._ended_counts, self._counts)

    async def __aenter__(self) -> Self:
        """Take over a delegate that a controller before this one left.

        Raises:
            ApplyError: The folder cannot be used.
        """
        await anyio.to_thread.run_sync(private_folder, self._state)
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(self._tasks.cancel_scope.cancel)
            stack.push_async_callback(self._end, timedelta(0))
            process = self._make_process()
            if await process.adopt():
                self._watch(process)
            self._tasks.start_soon(self._run)
            if self._access_log is not None:
                self._tasks.start_soon(self._follow, self._access_log)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(exc, Exception):
            # Not for the tasks' group, which would wrap it: it was raised inside the context, not by a task.
            return await self._stack.__aexit__(None, None, None)
        return await self._stack.__aexit__(kind, exc, trace)

    # For the applier.

    def holds(self, table: RoutingTable) -> bool:
        """Whether *table* is what was asked for last."""
        known = self._table
        if known is None:
            return not table.hosts and not table.ports and self.pid is None
        return known == table

    async def serve(self, table: RoutingTable) -> None:
        """Serve *table*, and still the routes that it lacks and the one before had; see `settle`.

        Returns when that is so, or when the delegate has not acknowledged for `DelegateOptions.push_timeout`:
        then its routes respond 503 until it does, and no further change waits for it.
        """
        if self._table is None and not table.hosts and not table.ports and self.pid is None:
            return
        if self._table is None or not self.holds(table):
            self._table = table
            self._version += 1
        self._idle_since = None if table.hosts or table.ports else self._idle_since or anyio.current_time()
        wanted = self._version
        self._stopping = False
        self._announce()
        if self._late:
            return
        with anyio.move_on_after(self._options.push_timeout.total_seconds()) as waiting:
            while self._acknowledged < max(wanted, self._version) and self._is_needed:
                await self._advanced.wait()
        if waiting.cancelled_caught:
            self._late = True
            self._problem = "the delegate does not take its routes"
            _logger.error("delegate does not acknowledge", extra={"version": wanted, "reason": self.problem})

    def settle(self) -> None:
        """The program in front serves what belongs to the table of the last `serve`."""
        if self._table is None:
            return
        self._settled = self._table
        if not self._settling or self._settling[-1][1] != self._version:
            deadline = anyio.current_time() + self._options.settle.total_seconds()
            self._settling.append((deadline, self._version))

    async def stop(self, grace: timedelta) -> None:
        """End the process, requests under way first. The next `serve` starts it again."""
        self._stopping = True
        await self._end(grace)

    def leave(self) -> None:
        """Let the process run on, for the next controller to adopt; forget it here."""
        if self._process is not None:
            self._process.leave()
            self._unwatch()

    # The process.

    def _make_process(self) -> ProxyProcess:
        # Without the working folder on the path: who can write there would be who runs here.
        argv = (sys.executable, "-P", "-m", "ingresskit.proxy.delegate", str(self._state), _release())
        return ProxyProcess("delegate", argv, state=self._state, settings=self._options.process)

    @property
    def _is_needed(self) -> bool:
        """Whether a process should be there: for routes, or because one is that has some."""
        return self._process is not None or bool(
            self._table is not None and (self._table.hosts or self._table.ports)
        )

    async def _start(self) -> None:
        """Start it, or report why not, and wait before the next try."""
        process = self._make_process()
        self._watch(process)
        try:
            await process.start()
        except ApplyError as exc:
            if self._problem != str(exc):
                _logger.error("delegate could not be started", extra={"reason": str(exc)})
            self._problem = str(exc)
            self._unwatch()
            await anyio.sleep(self._options.process.restart_first.total_seconds() * 10)

    def _watch(self, process: ProxyProcess) -> None:
        self._process, scope = process, anyio.CancelScope()
        self._scope = scope
        if self._tasks is None:
            raise ConfigurationError("open it first: async with Delegate(…) as delegate")
        self._tasks.start_soon(self._keep_running, process, scope)

    async def _keep_running(self, process: ProxyProcess, scope: anyio.CancelScope) -> None:
        with scope:
            await process.run()

    def _unwatch(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        if self._process is not None:
            self.restarts += self._process.restarts
        self._process = None
        self._acknowledged = 0
        self._advance()

    async def _end(self, grace: timedelta) -> None:
        if (process := self._process) is None:
            return
        with anyio.CancelScope(shield=True):
            await process.stop(grace=grace)
        self._late = False
        if self._process is process:
            self._unwatch()

    # What goes to it.

    async def _run(self) -> None:
        """Keep the delegate at what it should serve, through its restarts."""
        while True:
            wake = self._wake
            if self._process is None and self._is_needed and not self._stopping:
                await self._start()
                continue
            if self._process is None or self._process.pid is None:
                with anyio.move_on_after(_RETRY_SECONDS):
                    await wake.wait()
                continue
            try:
                async with await Link.open(self._state / "control.sock") as link:
                    if await self._greet(link):
                        await self._feed(link)
            except (ApplyError, ValueError):
                # It is starting, or has ended: see `ProxyProcess.run`.
                await anyio.sleep(_POLL_SECONDS)

    async def _greet(self, link: Link) -> bool:
        """Find out what runs; whether it can be told more."""
        found = await link.ask(Hello())
        if found.get("protocol") != PROTOCOL or found.get("release") != _release():
            _logger.info("replacing a delegate of another release", extra={"release": found.get("release")})
            await self._replace()
            return False
        serves = int(cast(int, found["version"]))
        if found.get("owner") == self._owner:
            self._acknowledged = serves
        elif serves:
            # Of a controller before this one: it keeps its routes until this one knows what the front needs.
            self._version = serves + (self._table is not None)
            self._acknowledged = serves
        else:
            self._acknowledged = 0
            if self._table is not None and self._settled.hosts and self._settled is not self._table:
                self._version += 1
                await self._push(link, self._version - 1, self._settled)
        return True

    async def _feed(self, link: Link) -> None:
        process = self._process
        while self._process is process:
            wake = self._wake
            if self._table is not None and self._acknowledged < self._version:
                if not await self._push(link, self._version, self._table):
                    return
                continue
            now = anyio.current_time()
            while self._settling and self._settling[0][0] <= now:
                _, settled = self._settling.pop(0)
                await link.ask(Settle(version=settled))
            idle = self._idle_since
            if idle is not None and now - idle >= self._options.linger.total_seconds():
                _logger.info("delegate ended, no route needs it")
                await self._end(self._settings.drain_grace)
                return
            with suppress(ValueError):
                self._take_counts(process, read_counts(await link.ask_raw(Count())))
            with anyio.move_on_after(self._options.statistics_interval.total_seconds()):
                await wake.wait()

    def _take_counts(self, process: ProxyProcess | None, counts: DelegateCounts) -> None:
        pid = 0 if process is None else process.pid or 0
        if self._counted not in (0, pid):
            self._ended_counts = added(self._ended_counts, self._counts)
        self._counted, self._counts = pid, counts

    async def _push(self, link: Link, number: int, table: RoutingTable) -> bool:
        order = Serve(version=number, owner=self._owner, table=table, settings=self._settings)
        try:
            found = await link.ask(order)
        except _UNSENDABLE as exc:
            return await self._not_taken(f"a policy's filters cannot be sent to the delegate: {exc}")
        if "unread" in found:
            return await self._not_taken(f"the delegate cannot read its routes: {found['unread']}")
        if "refused" in found:
            _logger.info("replacing a delegate with other settings")
            await self._replace()
            return False
        self._acknowledged = number
        self._late = False
        self._problem = ""
        self._advance()
        return True

    async def _not_taken(self, reason: str) -> bool:
        if self._problem != reason:
            _logger.error("delegate does not get its routes", extra={"reason": reason})
        self._problem = reason
        with anyio.move_on_after(_UNTAKEN_SECONDS):
            await self._wake.wait()
        return False

    async def _replace(self) -> None:
        await self._end(timedelta(seconds=1))

    async def _follow(self, access_log: Callable[[AccessRecord], None]) -> None:
        """Hand on its records."""
        while True:
            try:
                async with await Link.open(self._state / "control.sock") as link:
                    await link.send(Follow())
                    while True:
                        found = cast("list[dict[str, object]]", json.loads(await link.receive()))
                        for item in found:
                            access_log(read_record(item))
            except (ApplyError, ValueError):
                await anyio.sleep(_RETRY_SECONDS)

    def _announce(self) -> None:
        wake, self._wake = self._wake, anyio.Event()
        wake.set()

    def _advance(self) -> None:
        advanced, self._advanced = self._advanced, anyio.Event()
        advanced.set()


def _release() -> str:
    try:
        return version("ingresskit")
    except PackageNotFoundError:
        return "unknown"
