"""How soon the next reload may come: a few at once, and then one for each gap. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["ReloadBudget"]

_MOST: Final = 2.0


class ReloadBudget:
    """Counts reloads, so that the first ones need not wait and many in a row are put together.

    Two reloads may come at once; each is earned back after a gap. The start of a program is no reload.
    """

    def __init__(self) -> None:
        self._left = _MOST
        self._at: float | None = None
        self._seconds = 0.0

    def spend(self, now: float, gap: float, seconds: float) -> None:
        """Count a reload that ended at *now* and took *seconds*; *gap* as in `wait`."""
        self._left = self._earned(now, gap) - 1.0
        self._at = now
        self._seconds = seconds

    def wait(self, now: float, gap: float) -> float:
        """Seconds until the next reload may begin; 0 when it may begin now.

        Args:
            now: Of the same clock as in `spend`.
            gap: Seconds from one reload to the next in the long run, or five times what the last one took if
                that is longer; 0: no gap.
        """
        return max(0.0, 1.0 - self._earned(now, gap)) * max(gap, 5 * self._seconds)

    def _earned(self, now: float, gap: float) -> float:
        if self._at is None or gap <= 0:
            return _MOST
        return min(_MOST, self._left + (now - self._at) / max(gap, 5 * self._seconds))
