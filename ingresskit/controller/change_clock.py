"""How long changes wait until they are live."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from ingresskit.controller.tally import Tally

__all__ = ["CHANGE_BOUNDS", "ChangeClock"]

CHANGE_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of times until changes are live, in seconds; one more takes the rest."""


class ChangeClock:
    """Times the oldest change that is not live.

    Of the changes that one pass puts live the first is timed: the others waited for less.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known = 0
        # When the first change came that the pass under way, or the last one, has; and the first since.
        self._taken: float | None = None
        self._since: float | None = None
        self._tally = Tally(CHANGE_BOUNDS)

    def see(self, revision: int) -> None:
        """The source has the snapshot with that revision."""
        if revision > self._known:
            self._known = revision
            if self._since is None:
                self._since = self._clock()

    def begin(self, revision: int) -> None:
        """A pass begins for that revision, the newest there is."""
        self.see(revision)
        if self._taken is None:
            self._taken = self._since
        self._since = None

    def live(self) -> None:
        """The pass that began last was put live."""
        if self._taken is not None:
            self._tally.observe(self._clock() - self._taken)
        self._taken = None

    @property
    def waiting(self) -> timedelta | None:
        """How long the oldest change that is not live has waited; ``None``: all are live."""
        first = self._since if self._taken is None else self._taken
        return None if first is None else timedelta(seconds=self._clock() - first)

    @property
    def durations(self) -> tuple[int, ...]:
        """How many took how long: a count for each of `CHANGE_BOUNDS` and one for longer ones."""
        return self._tally.counts

    @property
    def total(self) -> timedelta:
        """The sum of all these times."""
        return timedelta(seconds=self._tally.total)
