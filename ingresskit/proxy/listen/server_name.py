"""Reads the server name of a TLS handshake, and leaves its octets in the socket.

OpenSSL itself reads it, so that nothing is understood here that the handshake would understand otherwise: a
client may send its first message in as many pieces as it likes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["name_reader"]

_MOST_BYTES: Final = 1 << 17


class _Peeked(ssl.SSLObject):
    """A handshake that ends when the name is known."""

    is_known: bool = False
    name: str | None = None


def name_reader(context: ssl.SSLContext) -> Callable[[socket.socket], Awaitable[str | None]]:
    """A function that gives the server name which the client of a connection asks for; ``None``: none.

    It raises `OSError` where the client leaves, or sends what is no TLS.

    Args:
        context: With any certificate. It belongs to the function from now on.
    """

    def known(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
        if isinstance(connection, _Peeked):
            connection.is_known, connection.name = True, name
        return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR  # nobody sends it anywhere

    context.sslobject_class = _Peeked
    context.sni_callback = known

    async def read(connection: socket.socket) -> str | None:
        try:
            return await _read(connection, context)
        finally:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    return read


async def _read(connection: socket.socket, context: ssl.SSLContext) -> str | None:
    seen = 0
    while True:
        # Not woken before there is more than was seen.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
        await _wait_readable(connection)
        data = connection.recv(_MOST_BYTES, socket.MSG_PEEK)
        if len(data) <= seen or len(data) >= _MOST_BYTES:
            raise ConnectionResetError("no TLS handshake")
        seen = len(data)
        incoming = ssl.MemoryBIO()
        incoming.write(data)
        peeked = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        try:
            peeked.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            if isinstance(peeked, _Peeked) and peeked.is_known:
                return peeked.name
            raise


async def _wait_readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
