"""The ends of a tunnel, and who receives their bytes."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ByteEnd", "ByteReceiver"]


class ByteReceiver(Protocol):
    """Receives the bytes of one end of a tunnel: what a `ByteEnd` reports to."""

    def received(self, data: bytes) -> None:
        """Bytes of this end."""
        ...

    def ended(self) -> bool:
        """This end sends no more. Whether its connection stays open for the other direction."""
        ...

    def lost(self) -> None:
        """This end is gone."""
        ...

    def write_paused(self) -> None:
        """This end takes no more at the moment."""
        ...

    def write_resumed(self) -> None:
        """Undo `write_paused`."""
        ...


class ByteEnd(Protocol):
    """One end of a tunnel, whichever protocol is below it."""

    def start(self, receiver: ByteReceiver) -> None:
        """Begin to report to *receiver*: what came early, and perhaps the end, before this returns."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def pause(self) -> None:
        """Read no more."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def end(self) -> bool:
        """Send no more; whether that is possible, and the other direction still open."""
        ...

    def close(self) -> None:
        """End both directions when what is written has been sent."""
        ...

    def abort(self) -> None:
        """End both directions now."""
        ...
