"""The in-process data plane as a process of its own, beside a proxy program.

Run as ``python -m ingresskit.proxy.delegate``, it makes two Unix sockets in a private folder. On
``control.sock`` a controller says what to serve; on ``front.sock``, which is there once there is something to
serve, the program in front hands requests over. It serves on when its controller is gone, until the next one
comes, or SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, assert_never

from ingresskit._allocator import map_large_buffers
from ingresskit.facts import fact_logger
from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.proxy import Proxy
from ingresskit.proxy.settings import ProxySettings
from ingresskit.render.delegate import DelegateSettings
from ingresskit.render.delegate.control import (
    PROTOCOL,
    Count,
    Follow,
    Hello,
    Order,
    Serve,
    Settle,
    frame,
    read_order,
    write_record,
)
from ingresskit.render.inprocess import RoutingTable

__all__ = ["main"]

_logger = fact_logger(__name__)

_SWITCH_SECONDS: Final = 0.001
_MOST_FADING: Final = 64
_MOST_RECORDS: Final = 20_000
_MOST_IN_FRAME: Final = 500
# Longer than any program keeps a connection that it does not use: the program is to be the one that closes.
_IDLE: Final = timedelta(hours=2)
_PEER: Final = struct.Struct("3i")  # pid, uid, gid; source: unix(7), SO_PEERCRED


class _Delegate:
    """The process: a proxy, once there is a table for it, and who controls it."""

    def __init__(self, folder: Path, release: str) -> None:
        self._folder = folder
        self._release = release
        self._proxy: Proxy | None = None
        self._settings: DelegateSettings | None = None
        self._version = 0
        self._owner = ""
        # Each with the version of the first table that lacks some of its routes; the newest first.
        self._fading: list[tuple[int, RoutingTable]] = []
        self._records: deque[AccessRecord] = deque(maxlen=_MOST_RECORDS)
        self._recorded = asyncio.Event()
        self._follower: object | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        path = self._folder / "control.sock"
        fresh = path.with_name("control.new")
        fresh.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.bind(str(fresh))
        fresh.chmod(0o600)
        (self._folder / "front.sock").unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, sock=bound)
        fresh.replace(path)
        await self._stopping.wait()
        server.close()
        path.unlink(missing_ok=True)
        if self._proxy is not None and self._settings is not None:
            await self._proxy.drain(self._settings.drain_grace)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not _is_own(writer.get_extra_info("socket")):
                return
            while not self._stopping.is_set():
                size = int.from_bytes(await reader.readexactly(4), "big")
                payload = await reader.readexactly(size)
                try:
                    order = read_order(payload)
                except ValueError as exc:
                    # The module of a third party's policy is not there, most likely: its owner can tell people.
                    writer.write(frame(json.dumps({"unread": str(exc)}).encode()))
                    await writer.drain()
                    continue
                if isinstance(order, Follow):
                    await self._report(writer)
                    return
                writer.write(frame(json.dumps(await self._obey(order)).encode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other end is gone, or this process ends
        except ValueError as exc:
            _logger.warning("control connection closed", extra={"reason": str(exc)})
        finally:
            writer.close()

    async def _obey(self, order: Order) -> dict[str, object]:
        match order:
            case Hello():
                return {
                    "protocol": PROTOCOL,
                    "release": self._release,
                    "version": self._version,
                    "owner": self._owner,
                }
            case Serve():
                return await self._serve(order)
            case Settle(version=version):
                self._fading = [item for item in self._fading if item[0] > version]
                if self._proxy is not None:
                    self._proxy.swap(self._proxy.table, self._older())
                return {"settled": version}
            case Count():
                return self._counts()
            case Follow():
                raise ValueError("a connection that follows asks nothing else")
            case _:
                assert_never(order)

    async def _serve(self, order: Serve) -> dict[str, object]:
        if self._settings is not None and not _same(order.settings, self._settings):
            return {"refused": "the settings of a delegate that runs cannot be changed"}
        if self._proxy is None:
            self._settings = order.settings
            self._proxy = Proxy(_settings(order.settings, self._record))
        elif _lacks(order.table, before := self._proxy.table):
            self._fading = [(order.version, before), *self._fading][:_MOST_FADING]
        self._proxy.swap(order.table, self._older())
        if not self._version:
            await self._proxy.listen_front(self._folder / "front.sock", https_port=order.settings.https_port)
        self._version, self._owner = order.version, order.owner
        return {"serves": order.version}

    def _older(self) -> tuple[RoutingTable, ...]:
        return tuple([table for _, table in self._fading])

    def _counts(self) -> dict[str, object]:
        found = (self._proxy or Proxy()).statistics()
        return {
            "requests": {host: dict(classes) for host, classes in found.requests.items()},
            "terminations": dict(found.terminations),
            "upstream_failures": dict(found.upstream_failures),
            "upstream_failed": found.upstream_failed,
            "shadowed": dict(found.shadowed),
            "retries": found.retries,
            "connections_open": found.connections_open,
            "tunnels_open": found.tunnels_open,
            "unwell": {name: str(health) for name, health in found.unwell_endpoints().items()},
            "ejections": found.ejections_in_use(),
            "backends": [
                (key, item.requests, item.failures, item.active) for key, item in found.backends.items()
            ],
        }

    # Records of requests.

    def _record(self, record: AccessRecord) -> None:
        if self._follower is not None:
            self._records.append(record)
            self._recorded.set()

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        """Send records until another connection follows, or this one ends."""
        me = self._follower = object()
        try:
            while self._follower is me:
                await self._recorded.wait()
                self._recorded.clear()
                while self._records and self._follower is me:
                    some = [self._records.popleft() for _ in range(min(len(self._records), _MOST_IN_FRAME))]
                    writer.write(frame(json.dumps([write_record(item) for item in some]).encode()))
                    await writer.drain()
        finally:
            if self._follower is me:
                self._follower = None
                self._records.clear()


def _lacks(table: RoutingTable, before: RoutingTable) -> bool:
    """Whether *before* has a route that *table* does not have."""
    for name, old in before.hosts.items():
        new = table.hosts.get(name)
        if new is None or not (
            old.exact.keys() <= new.exact.keys() and old.prefixes.keys() <= new.prefixes.keys()
        ):
            return True
    return False


def _same(one: DelegateSettings, other: DelegateSettings) -> bool:
    """Whether two settings say the same; methods of equal objects are not equal by themselves."""
    return repr(one) == repr(other) or pickle.dumps(one) == pickle.dumps(other)


def _is_own(connection: socket.socket) -> bool:
    """Whether a process of this user is at the other end: it is believed in all things."""
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return user in (os.geteuid(), 0)


def _settings(settings: DelegateSettings, record: Callable[[AccessRecord], None]) -> ProxySettings:
    return ProxySettings(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        send_timeout=settings.send_timeout,
        idle_timeout=_IDLE,
        # The program in front has judged the sizes of what clients send, and adds some fields.
        max_request_line_bytes=65536,
        max_header_bytes=131072,
        max_headers=1000,
        # And has taken out the names that it lets nobody send.
        underscores_in_headers=True,
        public_http_port=settings.public_http_port,
        public_https_port=settings.public_https_port,
        # Of connections to further ports alone: the program in front says who sends requests.
        trusted_proxies=settings.trusted_proxies,
        ports_address=settings.ports_address,
        access_log=record,
        destination_fault=settings.destination_fault,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a delegate.

    Args:
        argv: The folder for its sockets, which must be private, and a word for the release of this package;
            ``None``: the words of this process.
    """
    folder, release = sys.argv[1:] if argv is None else argv
    delegate = _Delegate(Path(folder), release)
    # Hashes of passwords are computed in threads: the event loop waits 5 ms for each of them by default.
    sys.setswitchinterval(_SWITCH_SECONDS)
    with suppress(ModuleNotFoundError):
        import uvloop

        map_large_buffers()
        uvloop.run(delegate.run())
        return 0
    asyncio.run(delegate.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
