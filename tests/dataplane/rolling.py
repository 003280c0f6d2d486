"""Pods of a Service that is updated by and by, and the clients that it has meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from ingresskit.models import KubeObject
from ingresskit.testing import endpoint, endpoint_slice
from ingresskit.testing.loopback import Address

__all__ = ["Clients", "Pod", "slices_of"]

_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(eq=False)
class Pod:
    """Responds with its port. An upgrade is an echo that begins with the port, ``/events`` a stream of it.

    Attributes:
        name: Of its slice.
        port: Where it listens.
        terminating: It was told to end: it still serves, and is in its slice as one that does.
    """

    name: str
    port: int = 0
    terminating: bool = False
    _server: asyncio.Server | None = None
    _busy: set[object] = field(default_factory=set[object])
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[Pod]:
        """Serve until the end."""
        self._free.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await self.end()

    async def end(self) -> None:
        """Take no more connections, finish requests, and cut connections that carry none."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        await self._free.wait()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._busy.add(writer)
                self._free.clear()
                length = head.lower().partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                shown = str(self.port).encode()
                if b"\r\nupgrade: websocket" in head.lower():
                    writer.write(_SWITCHED + shown + b"\n")
                    while data := await reader.read(4096):
                        writer.write(data)
                    return
                if head.startswith(b"GET /events "):
                    writer.write(_EVENTS)
                    while not reader.at_eof():
                        event = b"data: %b\n\n" % shown
                        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                        await writer.drain()
                        await asyncio.sleep(0.02)
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(shown), shown))
                await writer.drain()
                self._ends(writer)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            self._ends(writer)
            self._writers.discard(writer)
            writer.close()

    def _ends(self, writer: object) -> None:
        self._busy.discard(writer)
        if not self._busy:
            self._free.set()


def slices_of(pods: Sequence[Pod]) -> list[KubeObject]:
    """A slice for each pod of the Service ``web``: all ports of a slice are the same."""
    return [
        endpoint_slice(
            "web",
            endpoint("127.0.0.1", ready=not pod.terminating, serving=True, terminating=pod.terminating or None),
            ports=pod.port,
            name=pod.name,
        )
        for pod in pods
    ]


class Clients:
    """Clients that ask all the time, and hold streams open.

    Args:
        address: Of the proxy.
        host: What they ask for.

    Attributes:
        responses: Of requests that succeeded, by the port that responded.
        faults: What went wrong, each as a sentence.
        streams: The ports of those who serve the streams that are open.
        signs: Messages and events of the streams.
    """

    def __init__(self, address: Address, host: str) -> None:
        self._address = address
        self._host = host
        self._stopping = False
        self.responses: dict[int, int] = {}
        self.faults: list[str] = []
        self.streams: list[int] = []
        self.signs = 0

    @contextlib.asynccontextmanager
    async def asking(self, stayers: Sequence[int], *, kept: int = 4, each: int = 2) -> AsyncGenerator[Clients]:
        """Ask until the end, with *each* echo and event stream open at each of *stayers*."""
        async with asyncio.TaskGroup() as group:
            for port in stayers:
                for _ in range(each):
                    for work in (self._echo, self._events):
                        await self._hold(group, work, port)
            for number in range(kept):
                group.create_task(self._ask(b"POST" if number % 4 == 3 else b"GET"))
            yield self
            self._stopping = True

    async def _hold(
        self,
        group: asyncio.TaskGroup,
        work: Callable[[int], Coroutine[None, None, AsyncGenerator[None] | None]],
        port: int,
    ) -> None:
        """A stream to *port*, wherever the proxy sends requests for one first."""
        while (stream := await work(port)) is None:
            pass
        self.streams.append(port)
        group.create_task(self._read(stream, port))

    async def _read(self, stream: AsyncGenerator[None], port: int) -> None:
        try:
            async for _ in stream:
                self.signs += 1
                if self._stopping:
                    return
            self.faults.append(f"a stream of {port} ended")
        except (OSError, EOFError, ValueError) as exc:
            self.faults.append(f"a stream of {port} was cut: {exc!r}")
        finally:
            await stream.aclose()

    async def _echo(self, port: int) -> AsyncGenerator[None] | None:
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n{_UPGRADE}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head or int(await reader.readuntil(b"\n")) != port:
            writer.transport.abort()
            return None

        async def messages() -> AsyncGenerator[None]:
            try:
                while True:
                    writer.write(b"message\n")
                    if await reader.readuntil(b"\n") != b"message\n":
                        raise ValueError("another message")
                    yield
                    await asyncio.sleep(0.05)
            finally:
                writer.transport.abort()

        return messages()

    async def _events(self, port: int) -> AsyncGenerator[None] | None:
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(f"GET /events HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        event = b"data: %d\n\n" % port
        await reader.readuntil(b"data: ")
        if await reader.readexactly(len(event) - 6) != event[6:]:
            writer.transport.abort()
            return None

        async def events() -> AsyncGenerator[None]:
            try:
                while True:
                    await reader.readuntil(event)
                    yield
            finally:
                writer.transport.abort()

        return events()

    async def _ask(self, method: bytes) -> None:
        """Ask one thing after the other on a connection that is kept for as long as the proxy keeps it."""
        body = b"Content-Length: 4\r\n\r\nbody" if method == b"POST" else b"\r\n"
        request = b"%b / HTTP/1.1\r\nHost: %b\r\n%b" % (method, self._host.encode(), body)
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._stopping:
            try:
                if reader is None or writer is None or reader.at_eof() or writer.is_closing():
                    if writer is not None:
                        writer.transport.abort()
                    reader, writer = await asyncio.open_connection(*self._address)
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0])
                answer = await reader.readexactly(length)
                if head.startswith(b"http/1.1 200 "):
                    self.responses[int(answer)] = self.responses.get(int(answer), 0) + 1
                else:
                    self.faults.append(f"{method!r} got {head.splitlines()[0]!r}")
                if b"\r\nconnection: close" in head:
                    writer.close()
            except (OSError, EOFError, ValueError) as exc:
                self.faults.append(f"{method!r}: {exc!r}")
                reader = None
            await asyncio.sleep(0.005)
        if writer is not None:
            writer.close()
