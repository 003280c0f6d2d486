"""The in-process data plane as one of several worker processes of a controller.

Run as ``python -m ingresskit.proxy.worker`` with two sockets in place of the standard input and descriptor 3.
On the first the controller says what to serve; on the second it sends descriptors: listening sockets, memory
that the workers share. Nothing touches a disk, so that keys stay in memory.

The worker ends when its controller does: that closes the first socket. Requests under way are finished then.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final, assert_never

from ingresskit._allocator import map_large_buffers
from ingresskit.facts import fact_logger
from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.limits.shared import SharedLimits
from ingresskit.proxy.listen.listener import Listener
from ingresskit.proxy.proxy import Proxy
from ingresskit.proxy.settings import ProxySettings
from ingresskit.render.delegate.control import PROTOCOL, frame, write_record
from ingresskit.render.inprocess import RoutingTable
from ingresskit.render.workers import (
    Accept,
    Begin,
    Change,
    Count,
    Drain,
    Free,
    Release,
    WorkerOrder,
    read_worker_order,
    write_statistics,
)

__all__ = ["main"]

_logger = fact_logger(__name__)

_CONTROL: Final = 0
_DESCRIPTORS: Final = 3
_SWITCH_SECONDS: Final = 0.001
_MOST_RECORDS: Final = 100_000
_MOST_IN_FRAME: Final = 500
_MOST_DESCRIPTORS: Final = 64
_LAST_RECORDS_SECONDS: Final = 1.0
_LINGER: Final = timedelta(seconds=1)
_ORPHAN_SECONDS: Final = 10.0
# As `ingresskit.app` sets it for a proxy in the controller's process: what lasts is not walked again and again.
_THRESHOLDS: Final = (10_000, 20, 1_000_000)
_LARGE_CHANGE: Final = 1000


class _Worker:
    """The process: a proxy, and what its controller asks of it."""

    def __init__(self, control: socket.socket, descriptors: socket.socket) -> None:
        self._control = control
        self._descriptors = descriptors
        self._proxy = Proxy()
        self._limits: SharedLimits | None = None
        self.grace: timedelta = timedelta(0)
        self._version = 0
        self._groups: dict[int, list[Listener]] = {}
        self._records: deque[AccessRecord] = deque()
        self._dropped = 0
        self._recorded = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._ended = False
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until the controller says so, or ends, or SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        reader, writer = await asyncio.open_unix_connection(sock=self._control)
        conversation = loop.create_task(self._converse(reader, writer))
        stopped = loop.create_task(self._stop.wait())
        await asyncio.wait([conversation, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not conversation.done():
            # Of somebody else: the controller learns by the end of the connection that it needs another worker.
            conversation.cancel()
            _logger.info("worker drains", extra={"pid": os.getpid(), "reason": "SIGTERM"})
        await asyncio.wait([conversation])
        writer.close()
        # Nothing is left to do where it was drained.
        await self._proxy.drain(self.grace, linger=min(self.grace, _LINGER))
        await self._end_records()
        if not conversation.cancelled() and (fault := conversation.exception()) is not None:
            raise fault

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                size = int.from_bytes(await reader.readexactly(4), "big")
                payload = await reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return  # the controller has ended, or has given this worker up
            try:
                order = read_worker_order(payload)
            except ValueError as exc:
                found: dict[str, object] = {"unread": str(exc)}
            else:
                found = await self._obey(order)
            with suppress(ConnectionError):
                writer.write(frame(json.dumps(found).encode()))
                await writer.drain()
            if "drained" in found:
                return

    async def _obey(self, order: WorkerOrder) -> dict[str, object]:
        match order:
            case Begin():
                return self._begin(order)
            case Change():
                return self._change(order)
            case Accept():
                return await self._accept(order)
            case Release(group=group):
                for listener in self._groups.pop(group, []):
                    await self._proxy.leave(listener)
                return {"released": group}
            case Free(seat=seat):
                if self._limits is not None:
                    self._limits.places.free(seat)
                return {"freed": seat}
            case Count():
                return write_statistics(self._proxy.statistics())
            case Drain(grace=grace, linger=linger):
                await self._proxy.drain(grace, linger=linger)
                await self._end_records()
                return {"drained": True, **write_statistics(self._proxy.statistics())}
            case _:
                assert_never(order)

    def _begin(self, order: Begin) -> dict[str, object]:
        if not isinstance(order.settings, ProxySettings):
            return {"refused": "not the settings of a proxy"}
        received = self._receive()
        self._limits = SharedLimits(received[0], order.secret, order.seat)
        self.grace = order.grace
        settings = order.settings
        if order.records:
            connection = socket.socket(fileno=received[1])
            settings = replace(settings, access_log=self._record)
            connection.setblocking(False)
            self._sending = asyncio.get_running_loop().create_task(self._send_records(connection))
        self._proxy = Proxy(settings, shared=self._limits)
        return {"protocol": PROTOCOL, "pid": os.getpid()}

    def _change(self, order: Change) -> dict[str, object]:
        if order.base not in (0, self._version):
            return {"refused": f"serves version {self._version}, not {order.base}"}
        before = self._proxy.table if order.base else _NO_TABLE
        self._proxy.swap(order.change.applied(before))
        if not order.base or len(order.change.hosts.put) >= _LARGE_CHANGE:
            gc.collect()
            gc.freeze()
        self._version = order.version
        return {"serves": self._version}

    async def _accept(self, order: Accept) -> dict[str, object]:
        received = self._receive()
        listeners: list[Listener] = []
        for descriptor, tls in zip(received, order.tls, strict=True):
            bound = socket.socket(fileno=descriptor)
            bound.setblocking(False)
            listeners.append(await self._proxy.listen_on(bound, tls=tls))
        self._groups[order.group] = listeners
        return {"accepts": order.group}

    def _receive(self) -> list[int]:
        """The descriptors of the present order, which were sent before it."""
        _, received, _, _ = socket.recv_fds(self._descriptors, 1, _MOST_DESCRIPTORS)
        return received

    # Records of requests.

    def _record(self, record: AccessRecord) -> None:
        if len(self._records) < _MOST_RECORDS:
            self._records.append(record)
            self._recorded.set()
        else:
            self._dropped += 1

    async def _send_records(self, connection: socket.socket) -> None:
        _, writer = await asyncio.open_unix_connection(sock=connection)
        with suppress(ConnectionError):
            while self._records or self._dropped or not self._ended:
                await self._recorded.wait()
                self._recorded.clear()
                while self._records:
                    some = [self._records.popleft() for _ in range(min(len(self._records), _MOST_IN_FRAME))]
                    writer.write(frame(json.dumps([write_record(item) for item in some]).encode()))
                    await writer.drain()
                if dropped := self._dropped:
                    self._dropped = 0
                    writer.write(frame(json.dumps([{"dropped": dropped}]).encode()))
                    await writer.drain()
        writer.close()

    async def _end_records(self) -> None:
        """Send those that are left; a controller that does not take them is not waited for."""
        if (sending := self._sending) is not None:
            self._ended = True
            self._recorded.set()
            await asyncio.wait([sending], timeout=_LAST_RECORDS_SECONDS)


_NO_TABLE: Final = RoutingTable()


def _end_orphan(descriptor: int, grace: Callable[[], timedelta]) -> None:
    """End the process when its controller has ended and it has not ended by itself, in a thread of its own."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLRDHUP)
    waiting.poll()
    time.sleep(grace().total_seconds() + _ORPHAN_SECONDS)
    os._exit(1)


def main() -> int:
    """Run a worker; see the module."""
    # Signals of a terminal are the controller's to act upon.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(_CONTROL))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), _CONTROL)
    control.setblocking(False)
    # Hashes of passwords are computed in threads: the event loop waits 5 ms for each of them by default.
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_THRESHOLDS)

    async def work() -> None:
        worker = _Worker(control, socket.socket(fileno=_DESCRIPTORS))
        threading.Thread(
            target=_end_orphan, args=[os.dup(control.fileno()), lambda: worker.grace], daemon=True
        ).start()
        await worker.run()

    with suppress(ModuleNotFoundError):
        import uvloop

        map_large_buffers()
        uvloop.run(work())
        return 0
    asyncio.run(work())
    return 0


if __name__ == "__main__":
    sys.exit(main())
