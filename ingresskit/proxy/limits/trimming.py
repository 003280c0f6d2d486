"""Gives memory back after many connections have ended.

The C library keeps what they had, for the next ones. Most of it can go back once far fewer are left. Python's
own allocator gives back an arena of 1 MB only when nothing of it is used: some 3 KB for each connection stay,
and are used again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ingresskit._allocator import return_free_memory

__all__ = ["TRIM_SECONDS", "Trimming"]

TRIM_SECONDS: Final = 1.0
"""How long it waits after a connection that ended: those that end together end in that time."""

_FEWEST: Final = 256


class Trimming:
    """Follows the number of connections, and gives memory back each time that it has halved."""

    __slots__ = ("_loop", "_timer", "most")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.most: int = _FEWEST
        """The most connections since memory was given back."""
        self._timer: asyncio.TimerHandle | None = None

    def fell(self, count: int) -> None:
        """Connections have ended, and *count*, half of `most` or fewer, are left."""
        self.most = max(_FEWEST, count)
        if self._timer is None:
            self._timer = self._loop.call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._timer = None
        return_free_memory()

    def close(self) -> None:
        """Give nothing back any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
