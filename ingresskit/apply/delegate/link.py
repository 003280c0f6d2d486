"""One control connection, to a delegate or to a worker process."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from ingresskit.errors import ApplyError
from ingresskit.render.delegate.control import Order, pack

__all__ = ["Link"]

_MOST_BYTES: Final = 256 << 20


class Link:
    """Exchanges messages with another process, one at a time.

    Raises:
        ApplyError: The connection broke, or what came back is no message. So does each method.
    """

    def __init__(self, stream: ByteStream) -> None:
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
        return await self.ask_packed(pack(order))

    async def ask_packed(self, packed: bytes) -> dict[str, object]:
        """The same for an order that is a frame already."""
        await self.send_packed(packed)
        found: object = json.loads(await self.receive())
        if not isinstance(found, dict):
            raise ApplyError("the other process does not make sense")
        return cast("dict[str, object]", found)

    async def ask_raw(self, order: Order) -> bytes:
        """The same, unread."""
        await self.send(order)
        return await self.receive()

    async def send(self, order: Order) -> None:
        """Send *order*."""
        await self.send_packed(pack(order))

    async def send_packed(self, packed: bytes) -> None:
        """Send a frame."""
        try:
            await self._stream.send(packed)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise ApplyError("the control connection broke") from exc

    async def receive_list(self) -> list[dict[str, object]]:
        """The next frame, when it is a list of JSON objects.

        Raises:
            ApplyError: As each method; or it is none.
            ValueError: It is no JSON.
        """
        found: object = json.loads(await self.receive())
        if not isinstance(found, list) or not all(
            isinstance(item, dict) for item in cast("list[object]", found)
        ):
            raise ApplyError("the other process does not make sense")
        return cast("list[dict[str, object]]", found)

    async def receive(self) -> bytes:
        """The next frame."""
        try:
            size = int.from_bytes(await self._buffered.receive_exactly(4), "big")
            if size > _MOST_BYTES:
                raise ApplyError("the other process does not make sense")
            return await self._buffered.receive_exactly(size)
        except (
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            anyio.IncompleteRead,
            anyio.EndOfStream,
            OSError,
        ) as exc:
            raise ApplyError("the control connection broke") from exc
