"""Connections to the servers of subrequests that are kept for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, SupportsIndex

from typing_extensions import override

if TYPE_CHECKING:
    from ingresskit.filters import Keepalive

__all__ = ["CountingReader", "IdleConnections", "Line", "Server"]

_MOST: Final = 1024  # of all servers


class Server(NamedTuple):
    """Who is at the other end of a connection.

    Attributes:
        trust: By which authorities its certificate was verified; a connection is no other policy's.
    """

    host: str
    port: int
    secure: bool
    trust: str = ""


class CountingReader(asyncio.StreamReader):
    """Counts what a server sends, so that nothing it sends unasked is taken for a response.

    Attributes:
        fed: Octets so far.
    """

    fed: int = 0

    @override
    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        octets = bytes(data)
        self.fed += len(octets)
        super().feed_data(octets)


class Line:
    """A connection that carries one subrequest at a time.

    Attributes:
        uses: Subrequests that it has carried, the present one included.
        received_any: Something of the present response was received.
    """

    __slots__ = ("_read", "_reader", "_timer", "received_any", "server", "uses", "writer")

    def __init__(self, server: Server, reader: CountingReader, writer: asyncio.StreamWriter) -> None:
        self.server: Server = server
        self.writer: asyncio.StreamWriter = writer
        self.uses: int = 0
        self.received_any: bool = False
        self._reader = reader
        self._read = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Another subrequest is sent on it."""
        self.uses += 1
        self.received_any = False

    @property
    def is_alive(self) -> bool:
        """Whether the server neither ended it nor sent more than was asked for, as far as is known."""
        silent = self._reader.fed == self._read
        return silent and not self._reader.at_eof() and not self.writer.is_closing()

    async def read_head(self) -> bytes:
        """The next head, with its empty line.

        Raises:
            EOFError: The connection ended before.
            OSError: It was lost.
            asyncio.LimitOverrunError: The head is too long.
        """
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as exc:
            self.received_any = self.received_any or bool(exc.partial)
            raise
        self.received_any = True
        self._read += len(head)
        return head

    async def read(self) -> bytes:
        """More of the body; empty at the end of the connection.

        Raises:
            OSError: It was lost.
        """
        octets = await self._reader.read(16_384)
        self._read += len(octets)
        return octets

    def wait(self, seconds: float) -> None:
        """Cut it after so many seconds, unless it is used before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def wake(self) -> None:
        """It is used."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Cut it."""
        self.wake()
        self.writer.transport.abort()


class IdleConnections:
    """The connections that carry nothing at the moment, by server. To be used on one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Server, list[Line]] = {}
        self._closed = False

    def take(self, server: Server) -> Line | None:
        """The connection that was used last; ``None`` where none is kept."""
        lines = self._idle.get(server, [])
        found: Line | None = None
        while lines and found is None:
            line = lines.pop()
            line.wake()
            if line.is_alive:
                found = line
            else:
                line.abort()
        if not lines:
            self._idle.pop(server, None)
        return found

    def put(self, line: Line, limits: Keepalive) -> None:
        """Keep a connection, or cut it where enough are kept."""
        lines = self._idle.setdefault(line.server, [])
        for gone in [item for item in lines if not item.is_alive]:
            lines.remove(gone)
            gone.abort()
        full = len(lines) >= limits.connections or sum(map(len, self._idle.values())) >= _MOST
        if self._closed or full or not line.is_alive:
            line.abort()
        else:
            lines.append(line)
            line.wait(limits.timeout.total_seconds())
        if not lines:
            del self._idle[line.server]

    def close(self) -> None:
        """Cut all, and keep no more."""
        self._closed = True
        for lines in self._idle.values():
            for line in lines:
                line.abort()
        self._idle.clear()
