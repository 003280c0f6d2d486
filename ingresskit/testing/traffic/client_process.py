"""A process of many clients: ``python -m ingresskit.testing.traffic.client_process SETTINGS``.

Asks until its input ends, then prints a `TrafficReport` in one line. SETTINGS are `TrafficSettings` as
JSON. It prints ``ready`` once every client has had an answer.

A client is strict: it sends a request only on a connection that it believes to be open, and then wants
an answer. It never tries again, as browsers would; what a proxy closes without a word is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from ingresskit.testing.traffic.report import TrafficReport, TrafficSettings

__all__ = ["main"]

_KEPT_FAILURES = 50


class _Closed(Exception):
    """The connection ended where an answer was due."""


class _Connection:
    """A client connection that asks one thing after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.last = False

    @property
    def ended(self) -> bool:
        """Whether the proxy has closed it, as far as anybody here can know."""
        return self.last or self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, host: str) -> int:
        """Send a request; the port of the endpoint that answered."""
        self._writer.write(f"GET /steady HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await self._head()
        length = int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0] or b"0")
        body = await self._reader.readexactly(length)
        self.last = b"\r\nconnection: close" in head
        if not head.startswith(b"http/1.1 200 "):
            raise _Closed(f"answered {_first_line(head)!r}")
        return int(body)

    async def upgrade(self, host: str) -> None:
        """Make a tunnel of it."""
        fields = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        )
        self._writer.write(f"GET /steady HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n\r\n".encode())
        head = await self._head()
        if not head.startswith(b"http/1.1 101 "):
            raise _Closed(f"not switched: {_first_line(head)!r}")

    async def echo(self, message: bytes) -> None:
        """Send a message through the tunnel and have it back."""
        self._writer.write(message)
        if await self._reader.readexactly(len(message)) != message:
            raise _Closed("another message came back")

    async def _head(self) -> bytes:
        return (await self._reader.readuntil(b"\r\n\r\n")).lower()

    def close(self) -> None:
        """Cut it."""
        self._writer.transport.abort()


class _Clients:
    """All clients of the process, and what they count."""

    def __init__(self, settings: TrafficSettings) -> None:
        self._settings = settings
        self._hosts: Iterator[str] = itertools.cycle(settings.hosts)
        self._secure_hosts: Iterator[str] = itertools.cycle(settings.secure_hosts or settings.hosts)
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._stopping = asyncio.Event()
        self._waiting = 0
        self._all_ready = asyncio.Event()
        self._failures: list[str] = []
        self._endpoints: set[int] = set()
        self._requests = self._failed = self._reconnects = self._broken = 0
        self._messages = self._handshakes = 0
        self._slowest = 0.0

    async def run(self) -> TrafficReport:
        """Ask until the input of the process ends."""
        settings = self._settings
        clients: list[Callable[[Callable[[], None]], Awaitable[None]]] = [
            *[self._busy] * settings.busy,
            *[self._thinker] * settings.thinkers,
            *[self._tunnel] * settings.tunnels,
        ]
        if settings.https is not None:
            clients += [self._handshaker] * settings.handshakers
        self._waiting = len(clients)
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(self._until_stopped(client))
            await self._all_ready.wait()
            print("ready", flush=True)  # noqa: T201
            await asyncio.to_thread(sys.stdin.buffer.read)
            self._stopping.set()
        return TrafficReport(
            requests=self._requests,
            failed=self._failed,
            failures=tuple(self._failures),
            reconnects=self._reconnects,
            tunnels_broken=self._broken,
            messages=self._messages,
            handshakes=self._handshakes,
            endpoints=tuple(sorted(self._endpoints)),
            slowest=round(self._slowest, 3),
        )

    async def _until_stopped(self, client: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Run a client that never ends until it is time; the answer that is due is waited for."""
        first = True

        def ready() -> None:
            nonlocal first
            if first:
                first = False
                self._waiting -= 1
                if not self._waiting:
                    self._all_ready.set()

        await client(ready)

    async def _busy(self, ready: Callable[[], None]) -> None:
        await self._keep_asking(ready, lambda: self._settings.pace)

    async def _thinker(self, ready: Callable[[], None]) -> None:
        think = self._settings.think
        await self._keep_asking(ready, lambda: random.uniform(think / 10, think))  # noqa: S311

    async def _keep_asking(self, ready: Callable[[], None], pause: Callable[[], float]) -> None:
        connection: _Connection | None = None
        while not self._stopping.is_set():
            if connection is not None and connection.ended:
                self._reconnects += 1
                connection.close()
                connection = None
            try:
                async with self._measured():
                    connection = connection or await self._open()
                    self._endpoints.add(await connection.ask(next(self._hosts)))
            except _FAILURES as exc:
                self._fail("a kept connection", exc)
                if connection is not None:
                    connection.close()
                connection = None
            ready()
            await self._pause(pause())
        if connection is not None:
            connection.close()

    async def _handshaker(self, ready: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            connection: _Connection | None = None
            try:
                async with self._measured():
                    host = next(self._secure_hosts)
                    connection = await self._open(host)
                    self._handshakes += 1
                    self._endpoints.add(await connection.ask(host))
            except _FAILURES as exc:
                self._fail("a new TLS connection", exc)
            if connection is not None:
                connection.close()
            ready()
            await self._pause(self._settings.pace * 5)

    async def _tunnel(self, ready: Callable[[], None]) -> None:
        think = self._settings.think
        while not self._stopping.is_set():
            connection: _Connection | None = None
            try:
                async with self._measured():
                    connection = await self._open()
                    await connection.upgrade(next(self._hosts))
            except _FAILURES as exc:
                self._fail("an upgrade", exc)
                await self._pause(0.1)
                continue
            ready()
            try:
                while not self._stopping.is_set():
                    async with asyncio.timeout(self._settings.timeout):
                        await connection.echo(b"message %d" % self._messages)
                    self._messages += 1
                    await self._pause(random.uniform(think / 10, think))  # noqa: S311
            except _FAILURES as exc:
                self._broken += 1
                self._note(f"a tunnel was cut: {exc!r}")
            connection.close()

    async def _open(self, host: str = "") -> _Connection:
        address = self._settings.https if host else self._settings.http
        if address is None:
            raise ValueError("there is no address for TLS")
        made = await asyncio.open_connection(
            *address, ssl=self._context if host else None, server_hostname=host or None
        )
        return _Connection(*made)

    @contextlib.asynccontextmanager
    async def _measured(self) -> AsyncGenerator[None]:
        self._requests += 1
        begun = time.monotonic()
        async with asyncio.timeout(self._settings.timeout):
            yield
        self._slowest = max(self._slowest, time.monotonic() - begun)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _fail(self, what: str, exc: BaseException) -> None:
        self._failed += 1
        self._note(f"{what}: {exc!r}")

    def _note(self, sentence: str) -> None:
        if len(self._failures) < _KEPT_FAILURES:
            self._failures.append(sentence)


def _first_line(head: bytes) -> str:
    return head.split(b"\r\n")[0].decode("latin-1")


_FAILURES = (_Closed, OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError)


def main() -> None:
    """Run the clients that the first argument describes."""
    settings = TrafficSettings.from_json(sys.argv[1])

    async def run() -> TrafficReport:
        return await _Clients(settings).run()

    print(asyncio.run(run()).to_json(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
