"""Names of servers that subrequests go to, looked up in the background and remembered for a while.

Many requests that ask the same service at once wait for one look-up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Coroutine
from typing import Final

__all__ = ["Names"]

_SECONDS: Final = 5.0  # cluster DNS gives out times of 5 and 30 seconds
_MOST: Final = 1024


async def _look_up(name: str) -> tuple[str, ...]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Names:
    """The addresses of names. To be used on one event loop.

    Args:
        clock: Seconds; never goes back.
        look_up: From a name to its addresses; raises `OSError`. By default that of the event loop.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        look_up: Callable[[str], Coroutine[None, None, tuple[str, ...]]] = _look_up,
    ) -> None:
        self._clock = clock
        self._look_up = look_up
        # Until when, and the look-up; the oldest first.
        self._known: dict[str, tuple[float, asyncio.Task[tuple[str, ...]]]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, in the order of the resolver; a numeric address is its own.

        Raises:
            OSError: It cannot be looked up.
        """
        try:
            ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            return (name,)
        known = self._known.get(name)
        if known is None or known[0] <= self._clock():
            self._known.pop(name, None)
            task = asyncio.get_running_loop().create_task(self._look_up(name))
            task.add_done_callback(lambda done: self._looked_up(name, done))
            known = self._known[name] = self._clock() + _SECONDS, task
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        # One who is in a hurry must not end the look-up of the others.
        return await asyncio.shield(known[1])

    def close(self) -> None:
        """End the look-ups that are under way."""
        for _, task in self._known.values():
            task.cancel()

    def _looked_up(self, name: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        # Also for those that nobody waits for any more: a fault that nobody asks for is logged by asyncio.
        failed = task.cancelled() or task.exception() is not None
        known = self._known.get(name)
        if failed and known is not None and known[1] is task:
            del self._known[name]
