"""Handing the listening sockets of one controller over to the next one, so that no connection is lost.

The one that runs offers them on a Unix socket in a private folder. The next one asks for them, takes
connections from them with workers of its own, and says so; then the first one drains. The sockets are the same
ones, with what waits in their queues, so there is no moment at which nobody listens. Should the next one fail
before it has said so, the first one serves on.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, cast

import anyio
from anyio.abc import SocketAttribute, UNIXSocketStream

from ingresskit.apply.workers.sockets import ListeningAddress, ListeningSockets
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.facts import fact_logger

__all__ = ["Takeover", "TakeoverPoint"]

_logger = fact_logger(__name__)

_PROTOCOL: Final = 1
_TAKEN: Final = b"taken"
_MOST_BYTES: Final = 65536
_MOST_DESCRIPTORS: Final = 250  # Source: unix(7), SCM_MAX_FD
_ANSWER_SECONDS: Final = 10.0
_LONGEST_PATH: Final = 107  # sockaddr_un(7)
_PEER: Final = struct.Struct("3i")  # pid, uid, gid; source: unix(7), SO_PEERCRED


class TakeoverPoint:
    """Where the next controller asks for the listening sockets.

    Args:
        path: Of the Unix socket, in a folder that is open to nobody else.

    Raises:
        ConfigurationError: *path* is too long for a socket.
    """

    def __init__(self, path: Path) -> None:
        _check_path(path)
        self._path = path

    async def run(self, sockets: ListeningSockets, on_taken: Callable[[], None]) -> None:
        """Offer *sockets* until cancelled.

        Args:
            sockets: Those that are listened at; they stay the owner's.
            on_taken: Called once another process takes connections from them.
        """
        fresh = self._path.with_name("takeover.new")
        fresh.unlink(missing_ok=True)
        async with await anyio.create_unix_listener(fresh, mode=0o600) as listener:
            # In the place of the one before, which may still be there.
            fresh.replace(self._path)
            while True:
                stream = cast(UNIXSocketStream, await listener.accept())
                async with stream:
                    try:
                        if await self._offer(stream, sockets):
                            on_taken()
                            return
                    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, TimeoutError):
                        _logger.warning("another controller gave up taking over")

    async def _offer(self, stream: UNIXSocketStream, sockets: ListeningSockets) -> bool:
        connection = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
        _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if user not in (os.geteuid(), 0):
            return False
        words = {"protocol": _PROTOCOL, "addresses": sockets.addresses, "groups": len(sockets.groups)}
        descriptors = [one for group in range(len(sockets.groups)) for one in sockets.descriptors(group)]
        await stream.send_fds(json.dumps(words).encode(), descriptors[:_MOST_DESCRIPTORS])
        # As long as the other one lives: its workers load their tables now.
        return await stream.receive(len(_TAKEN)) == _TAKEN


class Takeover:
    """The listening sockets of the controller that runs, for this one. Made by `begin`.

    Attributes:
        sockets: They belong to this process too.
    """

    def __init__(self, stream: UNIXSocketStream, sockets: ListeningSockets) -> None:
        self._stream = stream
        self.sockets: ListeningSockets = sockets

    @classmethod
    async def begin(cls, path: Path) -> Self | None:
        """Ask the controller that offers its sockets at *path*; ``None`` when there is none.

        Raises:
            ApplyError: There is one, and it does not make sense.
            ConfigurationError: *path* is too long for a socket.
        """
        _check_path(path)
        try:
            stream = await anyio.connect_unix(path)
        except OSError:
            return None
        received: list[int] = []
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                data, received = await stream.receive_fds(_MOST_BYTES, _MOST_DESCRIPTORS)
            words = cast("dict[str, object]", json.loads(data))
            rows = cast("list[tuple[str, int, bool]]", words["addresses"])
            addresses = [ListeningAddress(str(host), int(port), bool(tls)) for host, port, tls in rows]
            count = int(cast(int, words["groups"]))
            if words["protocol"] != _PROTOCOL or count * len(addresses) != len(received):
                raise ValueError("of another protocol")
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, KeyError, TypeError, ValueError) as exc:
            for descriptor in received:
                os.close(descriptor)
            await anyio.aclose_forcefully(stream)
            raise ApplyError(f"the controller at {path} does not hand over its sockets: {exc}") from exc
        bound = [socket.socket(fileno=descriptor) for descriptor in received]
        width = len(addresses)
        groups = [bound[index * width : (index + 1) * width] for index in range(count)]
        return cls(stream, ListeningSockets(addresses, groups))

    async def confirm(self) -> None:
        """Say that this process takes connections from them: the other one drains."""
        async with self._stream:
            try:
                await self._stream.send(_TAKEN)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                _logger.warning("the controller before this one has ended already")


def _check_path(path: Path) -> None:
    if (size := len(os.fsencode(path))) > _LONGEST_PATH:
        raise ConfigurationError(
            f"{path} is too long for a socket: {size} bytes, {_LONGEST_PATH} at most; choose a shorter folder"
        )
