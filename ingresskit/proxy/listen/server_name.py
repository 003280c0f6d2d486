"""Reads the server name of a TLS handshake, and leaves its octets in the socket.

OpenSSL itself reads it, so that nothing is understood here that the handshake would understand otherwise: a
client may send its first message in as many pieces as it likes.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from ingresskit.proxy.listen.peeking import peek

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
        return (await peek(connection, judge, _MOST_BYTES)).name

    def judge(data: bytes) -> _Peeked | None:
        incoming = ssl.MemoryBIO()
        incoming.write(data)
        peeked = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        try:
            peeked.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            if isinstance(peeked, _Peeked) and peeked.is_known:
                return peeked
            raise
        return None

    return read
