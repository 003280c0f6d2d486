"""A socket as an anyio stream, on every event loop that anyio runs on."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from anyio.abc import ByteStream
from typing_extensions import override

__all__ = ["SocketChannel"]


class SocketChannel(ByteStream):
    """One end of a pair of stream sockets, which belongs to it.

    One task may receive while another one sends.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._closed = False
        self._waiting = 0

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        """As `ByteStream.receive`."""
        while True:
            self._check()
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await self._wait(anyio.wait_readable)
                continue
            except OSError as exc:
                raise anyio.BrokenResourceError from exc
            if not data:
                raise anyio.EndOfStream
            return data

    @override
    async def send(self, item: bytes) -> None:
        """As `ByteStream.send`."""
        rest = memoryview(item)
        while rest:
            self._check()
            try:
                rest = rest[self._socket.send(rest, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                await self._wait(anyio.wait_writable)
            except OSError as exc:
                raise anyio.BrokenResourceError from exc

    @override
    async def send_eof(self) -> None:
        """As `ByteStream.send_eof`."""
        self._socket.shutdown(socket.SHUT_WR)

    @override
    async def aclose(self) -> None:
        """As `ByteStream.aclose`."""
        self.close()

    def close(self) -> None:
        """The same, without a wait; who waits here gets a `ClosedResourceError`."""
        if self._closed:
            return
        self._closed = True
        if self._waiting:
            # Wakes who waits; a descriptor that is closed would not.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()

    def _check(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._waiting += 1
        try:
            await wait(self._socket)
        finally:
            self._waiting -= 1
            if self._closed and not self._waiting:
                self._socket.close()
