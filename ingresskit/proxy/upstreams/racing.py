"""The first of several attempts that succeeds, each begun a little after the one before it.

A name may have addresses of two families of which one leads nowhere: who tries them one after the other waits
for a whole time-out first.

Source: RFC 8305, "Happy Eyeballs Version 2".
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, TypeVar

__all__ = ["ATTEMPT_DELAY", "alternated", "first_of"]

T = TypeVar("T")

ATTEMPT_DELAY: Final = 0.25
"""Seconds from one attempt to the next (RFC 8305, section 5)."""


def alternated(addresses: Sequence[str]) -> list[str]:
    """*addresses* with the two families in turn, beginning with that of the first (RFC 8305, section 4)."""
    versions = [ipaddress.ip_address(address).version for address in addresses]
    first = [address for address, version in zip(addresses, versions, strict=True) if version == versions[0]]
    second = [address for address, version in zip(addresses, versions, strict=True) if version != versions[0]]
    found: list[str] = []
    for index in range(max(len(first), len(second))):
        found += [*first[index : index + 1], *second[index : index + 1]]
    return found


async def first_of(
    attempts: Sequence[Callable[[], Coroutine[None, None, T]]],
    discard: Callable[[T], None],
    delay: float = ATTEMPT_DELAY,
) -> T:
    """The result of the first attempt that succeeds.

    Args:
        attempts: At least one, in the order in which they begin: one when *delay* is over since the last one
            began, or at once when one failed.
        discard: Gets the results that come too late.
        delay: In seconds.

    Raises:
        Exception: All failed: what the last one to fail raised.
    """
    waiting = list(attempts)
    running: set[asyncio.Task[T]] = set()
    try:
        while True:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            well = [task for task in done if task.exception() is None]
            for late in well[1:]:
                discard(late.result())
            if well:
                return well[0].result()
            if done and not waiting and not running:
                raise done.pop().exception() or asyncio.InvalidStateError
    finally:
        for task in running:
            task.cancel()
        for result in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(result, BaseException):
                discard(result)
