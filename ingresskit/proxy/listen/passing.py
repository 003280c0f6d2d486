"""Finds the connections among those of a TLS listener that do not end here, by the server name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingresskit.proxy.listen.client_hello import MOST_BYTES, parse_client_hello
from ingresskit.proxy.listen.peeking import peek

if TYPE_CHECKING:
    from ingresskit.proxy.message.forwarded import Address
    from ingresskit.render.inprocess import RoutingTable, StreamTarget

__all__ = ["PassedNames", "TakeStream"]

TakeStream = Callable[[socket.socket, "Address", "StreamTarget", str], None]
"""Takes a connection over: with the client's address, what is done with it, and the server name."""


class PassedNames:
    """Takes connections whose server name is one that is passed on; a table without such names costs nothing.

    Args:
        table: Gives the table that is live.
        take: Gets the connections.
    """

    def __init__(self, table: Callable[[], RoutingTable], take: TakeStream) -> None:
        self._table = table
        self._take = take

    async def __call__(self, connection: socket.socket, client: Address) -> bool:
        """Whether *connection* was taken over; else nothing was read of it.

        Raises:
            OSError: The client is gone, or sends too much.
            BadClientHello: What it sends is no TLS.
        """
        if not self._table().streams:
            return False
        hello = await peek(connection, parse_client_hello, MOST_BYTES + 1)
        target = self._table().stream_for(hello.server_name)
        if target is None:
            return False
        self._take(connection, client, target, hello.server_name or "")
        return True
