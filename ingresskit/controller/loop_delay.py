"""How late the event loop is: what keeps it busy delays every request and every answer of the admin server."""

from __future__ import annotations

from typing import NoReturn

import anyio

from ingresskit.controller.tally import Tally

__all__ = ["DELAY_BOUNDS", "LoopDelay"]

DELAY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets of delays, in seconds; one more takes the rest."""

_INTERVAL = 0.5


class LoopDelay:
    """Asks to be woken twice a second, and counts how late it was."""

    def __init__(self) -> None:
        self._tally = Tally(DELAY_BOUNDS)

    async def run(self) -> NoReturn:
        """Measure the event loop that this runs on, until cancelled."""
        while True:
            due = anyio.current_time() + _INTERVAL
            await anyio.sleep_until(due)
            self._tally.observe(max(anyio.current_time() - due, 0.0))

    @property
    def tally(self) -> Tally:
        """The delays so far, in seconds."""
        return self._tally
