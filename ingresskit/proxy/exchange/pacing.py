"""The body of a response that is sent no faster than its route allows.

What came of the endpoint and may not be sent yet waits here; meanwhile the endpoint is not read, so it is one
read at most. A timer wakes it when some of it may be sent: ten times a second at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["Pacer"]

_SLICES_A_SECOND: Final = 10


class Pacer:
    """Sends one response.

    As in nginx, *after* bytes and those of the first second come at once.

    Args:
        rate: Bytes a second, from 1.
        after: Bytes that come before the rate holds.
        send: Sends a part of the body, whether it is the last one, and the trailers after it.
        drained: Called when all that came was sent, and more will come.
    """

    __slots__ = (
        *("_after", "_began", "_complete", "_drained", "_loop", "_rate", "_send", "_sent", "_timer"),
        *("_trailers", "_waiting"),
    )

    def __init__(
        self,
        *,
        rate: int,
        after: int,
        send: Callable[[bytes, bool, bytes], None],
        drained: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._rate = rate
        self._after = after
        self._send = send
        self._drained = drained
        self._began = self._loop.time()
        self._sent = 0
        self._waiting = b""
        self._complete = False
        self._trailers = b""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether something waits: the endpoint is not to be read."""
        return bool(self._waiting)

    def take(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """Send *payload*, or what may be sent of it now, and the rest of it later."""
        self._waiting += payload
        self._complete = complete
        self._trailers = trailers
        self.run()

    def run(self) -> None:
        """Send what may be sent now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting
        seconds = 1 + self._loop.time() - self._began
        allowed = self._after + int(self._rate * seconds) - self._sent
        part = waiting[: max(0, allowed)]
        rest = self._waiting = waiting[len(part) :]
        self._sent += len(part)
        if rest:
            wanted = min(len(rest), max(1, self._rate // _SLICES_A_SECOND))
            missing = wanted - (allowed - len(part))
            self._timer = self._loop.call_later(missing / self._rate, self.run)
            if part:
                self._send(part, False, b"")
            return
        if self._complete:
            self._send(part, True, self._trailers)
            return
        if part:
            self._send(part, False, b"")
        self._drained()

    def wait(self) -> None:
        """Send nothing until `run`: the client takes nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Send nothing more."""
        self.wait()
        self._waiting = b""
