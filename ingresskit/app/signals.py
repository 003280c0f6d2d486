"""The signals that end a program, and the drain between the first of them and its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Final

import anyio

from ingresskit.facts import FactLogger

__all__ = ["RENEWING_SIGNAL", "drain_on_signal", "ending_signals", "reopening_signals"]

RENEWING_SIGNAL: Final = signal.SIGUSR2
"""The signal after which worker processes are replaced one by one."""


async def drain_on_signal(
    drain: Callable[[timedelta], Awaitable[None]],
    *,
    logger: FactLogger,
    grace: timedelta,
    on_cut: Callable[[], None],
    delay: Callable[[], timedelta] = timedelta,
) -> None:
    """Wait for a signal, then drain; a second signal cuts the drain short.

    Args:
        drain: Takes no more requests, and returns when those under way are done, or after the time it is given.
        logger: Reports both signals.
        grace: How long requests may finish.
        on_cut: Called at once when a second signal cuts requests: what ends then may end all else.
        delay: Called at the first signal: how long new connections are still taken before the drain.
    """
    with anyio.open_signal_receiver(*ending_signals()) as signals:
        first = await anext(signals)
        wait = delay()
        facts = {
            "signal": first.name,
            "delaySeconds": wait.total_seconds(),
            "graceSeconds": grace.total_seconds(),
        }
        logger.info("draining", extra=facts)
        async with anyio.create_task_group() as tasks:

            async def hurry() -> None:
                second = await anext(signals)
                logger.warning("requests under way are cut", extra={"signal": second.name})
                on_cut()
                tasks.cancel_scope.cancel()

            tasks.start_soon(hurry)
            # Clients and load balancers go on sending until they have learned that it is not ready.
            await anyio.sleep(wait.total_seconds())
            await drain(grace)
            tasks.cancel_scope.cancel()


def ending_signals() -> Iterator[signal.Signals]:
    """The signals after which the controller drains and ends."""
    yield from (signal.SIGTERM, signal.SIGINT)
    # A terminal that is closed ends what runs in it, unless that was started with nohup.
    if sys.stdin.isatty() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def reopening_signals() -> Iterator[signal.Signals]:
    """The signals of what rotates logs; without a receiver they would end the program at once."""
    yield from {signal.SIGHUP, signal.SIGUSR1}.difference(ending_signals())
