"""What transports do not offer: the end of one direction, and whether the other side is still there."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Final

__all__ = ["half_close", "has_left"]

# Linux: tcp_states.h. Not of these: FIN_WAIT, which is our own end.
_CLOSED_BY_PEER: Final = frozenset({7, 8, 9})  # CLOSE, CLOSE_WAIT, LAST_ACK


def half_close(transport: asyncio.Transport) -> bool:
    """Send no more on a connection; whether that was possible, and it is still there to be read."""
    if transport.is_closing() or not transport.can_write_eof():
        return False
    try:
        transport.write_eof()
    except OSError:
        # asyncio shuts the socket down here and now, and it may have been reset without having been told.
        return False
    return True


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the other side has closed a connection that may not be read at the moment.

    The state of the connection shows it though octets wait unread before its end. False where the
    operating system does not tell (Linux does).
    """
    if transport.is_closing():
        return True
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    if connection.family == socket.AF_UNIX:
        # The state of a Unix socket cannot be asked for; that its other end is closed can.
        looking = select.poll()
        looking.register(connection.fileno(), getattr(select, "POLLRDHUP", select.POLLHUP))
        return bool(looking.poll(0))
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        state: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return state[0] in _CLOSED_BY_PEER
