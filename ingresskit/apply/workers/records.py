"""The records of requests that a worker process sends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

from ingresskit.apply.delegate.link import Link
from ingresskit.apply.workers.channel import SocketChannel
from ingresskit.errors import ApplyError
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate.control import read_record

__all__ = ["receive_records"]


async def receive_records(
    connection: socket.socket,
    take: Callable[[AccessRecord], None],
    dropped: Callable[[int], None] | None,
) -> None:
    """Hand on the records of one worker until it ends.

    Args:
        connection: Where they come; it belongs to this function.
        take: Gets each of them.
        dropped: Gets the number of those that the worker left out.
    """
    async with Link(SocketChannel(connection)) as link:
        try:
            while True:
                for item in await link.receive_list():
                    if "client" in item:
                        take(read_record(item))
                    elif dropped is not None:
                        dropped(int(cast(int, item["dropped"])))
        except (ApplyError, KeyError, TypeError, ValueError):
            return  # the worker has ended; or does not make sense, and will not respond either
