"""A server that answers HTTP as a test tells it to, octet by octet."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ingresskit.kube import Access, TrustMaterial

JSON = "application/json"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    raw: bytes
    """The head as it came."""

    async def answer(
        self, body: bytes = b"{}", *, status: int = 200, kind: str = JSON, extra: str = ""
    ) -> None:
        head = (
            f"HTTP/1.1 {status} Because\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        )
        await self.write(head.encode() + body)

    async def begin(self) -> None:
        """The head of a watch."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        await self.write(head.encode())

    async def chunk(self, data: bytes) -> None:
        await self.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def tunnel(self, port: int) -> None:
        """What a proxy does for CONNECT, to a port of this machine."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await self.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        try:
            await asyncio.gather(pump(self.reader, writer), pump(reader, self.writer))
        finally:
            writer.close()

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Asked], Awaitable[None]]


@dataclass
class Stub:
    """The server: what it was asked, and over how many connections."""

    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list[Asked])
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def access(self, token: str = "", trust: TrustMaterial | None = None) -> Access:
        return Access(server=self.url, authorization=f"Bearer {token or 'one'}", trust=trust or TrustMaterial())

    @property
    def tokens(self) -> list[str]:
        return [asked.headers.get("authorization", "").removeprefix("Bearer ") for asked in self.asked]


@asynccontextmanager
async def serving(script: Script, *, context: ssl.SSLContext | None = None) -> AsyncGenerator[Stub, None]:
    stub = Stub(scheme="https" if context else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        stub.connections += 1
        try:
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                head = raw.decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                pairs = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, target, headers, body, writer, reader, raw)
                stub.asked.append(asked)
                await script(asked)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
