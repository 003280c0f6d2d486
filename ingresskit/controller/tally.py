"""Counts of what took how long, as a histogram wants them."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Tally"]


class Tally:
    """Observations by the bucket they fall into.

    Args:
        bounds: Upper bounds of the buckets, rising, each part of its bucket; one more bucket takes the rest.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count *value*."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bounds of all buckets but the last."""
        return self._bounds

    @property
    def counts(self) -> tuple[int, ...]:
        """One for each bucket, not cumulative."""
        return tuple(self._counts)

    @property
    def total(self) -> float:
        """The sum of all that was observed."""
        return self._total
