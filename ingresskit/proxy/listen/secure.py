"""TLS of accepted connections, with little memory for each.

asyncio's own event loop gives each TLS connection a buffer of 256 KB to read into, and copies at once what was
read. Here all connections of that loop read into one buffer. uvloop has its own protocol for TLS, whose buffer
takes memory only where it is used: see `ingresskit._allocator`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import ClassVar, Final

__all__ = ["take_secure"]

_BUFFER_BYTES: Final = 65536
_buffer = bytearray(_BUFFER_BYTES)


class _SharedBufferProtocol(SSLProtocol):
    """Reads into a buffer that it shares: the loop fills it and hands it over in one step."""

    max_size: ClassVar[int] = _BUFFER_BYTES

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        waiter: asyncio.Future[None],
        handshake_seconds: float,
    ) -> None:
        super().__init__(
            loop,
            protocol,
            context,
            waiter,
            server_side=True,
            ssl_handshake_timeout=handshake_seconds,  # type: ignore[arg-type]  # typeshed: whole numbers only
        )
        self._ssl_buffer: bytearray = _buffer
        self._ssl_buffer_view: memoryview = memoryview(_buffer)


async def take_secure(
    make_protocol: Callable[[], asyncio.Protocol],
    connection: socket.socket,
    context: ssl.SSLContext,
    handshake_seconds: float,
) -> None:
    """Begin TLS on *connection*, which belongs to its transport from now on, also when the handshake fails.

    Returns when the handshake is done, and the protocol knows its transport.

    Raises:
        OSError: The handshake fails, or takes longer than *handshake_seconds*.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        await loop.connect_accepted_socket(
            make_protocol, connection, ssl=context, ssl_handshake_timeout=handshake_seconds
        )
        return
    waiter: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.connect_accepted_socket(
        lambda: _SharedBufferProtocol(loop, make_protocol(), context, waiter, handshake_seconds), connection
    )
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
