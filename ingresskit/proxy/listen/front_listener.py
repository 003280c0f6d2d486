"""The private Unix socket at which a proxy program in front hands requests over."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingresskit.proxy.listen.listener import MakeProtocol

__all__ = ["FrontListener", "open_front_listener"]

_BACKLOG: Final = 1024


class FrontListener:
    """A Unix socket for the connections of a proxy program in front: see `ingresskit.proxy.message.front`.

    Attributes:
        path: Where the socket is.
    """

    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self.path: Path = path
        self._server = server

    async def close(self) -> None:
        """Take no more connections; those that stand are not touched."""
        self._server.close()
        self.path.unlink(missing_ok=True)


async def open_front_listener(make_protocol: MakeProtocol, path: Path) -> FrontListener:
    """A listener at *path* with mode 0600. What is left there of a process that ended makes way.

    Raises:
        OSError: The socket cannot be made.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Beside its place at first: the proxy in front never finds a socket that nobody listens at, and
        # nobody else one that they may open.
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        bound.bind(str(fresh))
        fresh.chmod(0o600)
        bound.setblocking(False)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: make_protocol(None), sock=bound, backlog=_BACKLOG
        )
        fresh.replace(path)
    except BaseException:
        bound.close()
        raise
    return FrontListener(path, server)
