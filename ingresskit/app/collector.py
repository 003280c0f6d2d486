"""The garbage collector, told what lasts: its pauses are pauses of every request.

Python walks all objects that lasted when a quarter as many new ones have: 0.1 to 0.6 s, in which no request is
served, each time that an Ingress of 10,000 hosts is written again (measured in November 2026). What a pass of
the controller has made stays until the next one and has no cycles, so it is taken out of the collector's sight;
reference counts free it. The collector goes on looking at what is young, at what a minute has added, and at all
of it when that has grown.
"""

from __future__ import annotations

import gc
from typing import Final

import anyio

from ingresskit.controller import ControllerView, EventKind

__all__ = ["Collector"]

# Objects made until the young ones are looked at, such looks until those that survived one are, and never by
# itself all that lasted.
_THRESHOLDS: Final = (10_000, 20, 1_000_000)
# So many looks at those that survived one: a pass made hundreds of thousands.
_LARGE_PASS: Final = 4
_INTERVAL: Final = 60.0
_GROWTH: Final = 1.5


class Collector:
    """Keeps the collector's pauses short while a controller runs."""

    def __init__(self) -> None:
        self._lasting = 0

    def begin(self) -> None:
        """Look at everything once; from now on what lasts is left alone. Called when the first pass is live."""
        gc.set_threshold(*_THRESHOLDS)
        self._look_at_all()

    async def run(self, controller: ControllerView) -> None:
        """Follow the passes of *controller* until cancelled."""
        next_look = anyio.current_time() + _INTERVAL
        with controller.subscribe() as events:
            while True:
                with anyio.CancelScope(deadline=next_look) as waiting:
                    try:
                        while (await anext(events)).kind is not EventKind.APPLY:
                            pass
                    except StopAsyncIteration:
                        return  # so has the controller ended
                if waiting.cancelled_caught:
                    next_look = anyio.current_time() + _INTERVAL
                    self.settle(2)
                elif gc.get_count()[2] >= _LARGE_PASS:
                    self.settle(1)

    def settle(self, generation: int) -> None:
        """Collect young objects, up to *generation*; those that survive are taken to last.

        Only a look at all that was added (2) finds every cycle in it. After a large pass that takes as long
        as it did before.
        """
        gc.collect(generation)
        gc.freeze()
        if gc.get_freeze_count() > self._lasting * _GROWTH:
            # What was part of a cycle when it was taken out of sight is garbage for ever, but for this.
            self._look_at_all()

    def _look_at_all(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._lasting = gc.get_freeze_count()
