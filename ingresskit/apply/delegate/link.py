"""One connection to the control socket of a delegate."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from ingresskit.errors import ApplyError
from ingresskit.render.delegate.control import Order, pack

__all__ = ["Link"]

_MOST_BYTES: Final = 256 << 20


class Link:
    """Exchanges messages with a delegate, one at a time.

    Raises:
        ApplyError: The connection broke, or what came back is no message. So does each method.
    """

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._buffered = BufferedByteReceiveStream(stream)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """A connection to the socket at *path*.

        Raises:
            ApplyError: No process listens there.
        """
        try:
            return cls(await anyio.connect_unix(path))
        except OSError as exc:
            raise ApplyError(f"{path}: {exc.strerror or exc}") from exc

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await anyio.aclose_forcefully(self._stream)

    async def ask(self, order: Order) -> dict[str, object]:
        """What the delegate responds to *order*."""
        found: object = json.loads(await self.ask_raw(order))
        if not isinstance(found, dict):
            raise ApplyError("the delegate does not make sense")
        return cast("dict[str, object]", found)

    async def ask_raw(self, order: Order) -> bytes:
        """The same, unread."""
        await self.send(order)
        return await self.receive()

    async def send(self, order: Order) -> None:
        """Send *order*."""
        try:
            await self._stream.send(pack(order))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise ApplyError("the connection to the delegate broke") from exc

    async def receive(self) -> bytes:
        """The next frame."""
        try:
            size = int.from_bytes(await self._buffered.receive_exactly(4), "big")
            if size > _MOST_BYTES:
                raise ApplyError("the delegate does not make sense")
            return await self._buffered.receive_exactly(size)
        except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.EndOfStream, OSError) as exc:
            raise ApplyError("the connection to the delegate broke") from exc
