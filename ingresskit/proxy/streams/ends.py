"""The two connections of a stream: that of the client, and that to the endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.sockets import half_close

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.ports.tunnels import ByteReceiver

__all__ = ["StreamEnd"]

# What the event loop reads at a time comes on top of it.
_FEWEST: Final = 1024


class StreamEnd(asyncio.Protocol):
    """A bare connection as one end of a tunnel: its `ByteEnd`.

    Nothing is read before `start`, and no more than the other end takes.

    Args:
        deadlines: Of the proxy.
        buffer_bytes: So much may wait to be written before the other end is not read any more.
        patience: Seconds in which what is written last must be taken.
        waits: Called when it takes no more at the moment, and when it does again.

    Attributes:
        received_bytes: From this end.
    """

    __slots__ = (
        *("_buffer_bytes", "_closing", "_deadlines", "_patience", "_receiver", "_transport", "_waits"),
        *("_early", "_ended_early", "bucket", "deadline", "received_bytes"),
    )

    def __init__(
        self, deadlines: Deadlines, buffer_bytes: int, patience: float, waits: Callable[[], None]
    ) -> None:
        self._deadlines = deadlines
        self._buffer_bytes = max(buffer_bytes, _FEWEST)
        self._patience = patience
        self._waits = waits
        self._receiver: ByteReceiver | None = None
        self._transport: asyncio.Transport | None = None
        self._closing = False
        # uvloop reads once more after `connection_made`, also where reading is paused there.
        self._early: list[bytes] = []
        self._ended_early = False
        self.received_bytes: int = 0
        self.deadline: float = NEVER
        self.bucket: int | None = None

    @property
    def waiting_bytes(self) -> int:
        """What was written and not sent yet."""
        transport = self._transport
        return 0 if transport is None else transport.get_write_buffer_size()

    # For the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._buffer_bytes)
        if self._receiver is None:
            self._transport.pause_reading()

    @override
    def data_received(self, data: bytes) -> None:
        self._deadlines.now()
        self.received_bytes += len(data)
        if self._receiver is not None:
            self._receiver.received(data)
        elif self._transport is not None:
            self._early.append(data)
            self._transport.pause_reading()

    @override
    def eof_received(self) -> bool:
        if self._receiver is None:
            self._ended_early = True
            return True
        return self._receiver.ended()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._deadlines.forget(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost()

    @override
    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.write_paused()
        self._waits()

    @override
    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.write_resumed()
        self._waits()

    # As `ByteEnd`.

    def start(self, receiver: ByteReceiver) -> None:
        """As `ByteEnd.start`."""
        self._receiver = receiver
        early, self._early = self._early, []
        for data in early:
            receiver.received(data)
        if self._closing or self._transport is None:
            receiver.lost()
        elif not self._ended_early:
            self._transport.resume_reading()
        elif not receiver.ended():
            self.close()

    def write(self, data: bytes) -> None:
        """As `ByteEnd.write`."""
        if not self._closing and self._transport is not None:
            self._transport.write(data)

    def pause(self) -> None:
        """As `ByteEnd.pause`."""
        if not self._closing and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """As `ByteEnd.resume`."""
        if not self._closing and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self) -> bool:
        """As `ByteEnd.end`."""
        return not self._closing and self._transport is not None and half_close(self._transport)

    def close(self) -> None:
        """As `ByteEnd.close`; who does not take the rest in time gets no more of it."""
        if not self._closing and self._transport is not None:
            self._closing = True
            self._transport.close()
            self._deadlines.set(self, self._deadlines.now() + self._patience)

    def abort(self) -> None:
        """As `ByteEnd.abort`."""
        if self._transport is not None:
            self._transport.abort()

    def deadline_passed(self) -> None:
        """For `Deadlines`: the rest was not taken."""
        self.abort()
