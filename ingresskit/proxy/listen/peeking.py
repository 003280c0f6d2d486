"""Reads what a client sends first, and leaves it in the socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

__all__ = ["peek"]

T = TypeVar("T")


async def peek(connection: socket.socket, judge: Callable[[bytes], T | None], most: int) -> T:
    """What *judge* makes of the first octets of *connection*, of which none is taken.

    Args:
        connection: Not blocking, nothing read from it yet.
        judge: Called with all that has arrived, each time there is more; ``None``: there must be more. What it
            raises, this raises.
        most: Octets at most.

    Raises:
        OSError: The client sends no more, or more than *most*.
    """
    seen = 0
    try:
        while True:
            # Not woken before there is more than was seen.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
            await _wait_readable(connection)
            data = connection.recv(most, socket.MSG_PEEK)
            if len(data) <= seen or len(data) >= most:
                raise ConnectionResetError("no TLS handshake")
            seen = len(data)
            if (found := judge(data)) is not None:
                return found
    finally:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _wait_readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
