"""Durations by bucket: the bounds, how one is counted, and the metric that they give."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from ingresskit.traffic.families import MetricFamily, MetricKind, Sample

__all__ = ["DURATION_BOUNDS", "DurationTally", "duration_family"]

DURATION_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of request durations, in seconds; one more bucket takes the rest."""

_LABELS: Final = (*(repr(bound) for bound in DURATION_BOUNDS), "+Inf")


class DurationTally:
    """Durations while they are counted.

    Attributes:
        counts: For each of `DURATION_BOUNDS`, and for longer ones; not cumulative.
        total: Of all of them, in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * len(_LABELS)
        self.total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.total += seconds


def duration_family(name: str, text: str, counts: Sequence[int], total: float) -> MetricFamily:
    """A histogram of durations; without *counts* a summary, which says that none were measured.

    Args:
        name: Of the metric.
        text: Its help.
        counts: As `DurationTally.counts`.
        total: In seconds.
    """
    if len(counts) != len(_LABELS):
        nothing = (Sample((), float(sum(counts))),)
        return MetricFamily(name=name, kind=MetricKind.SUMMARY, help=text, samples=nothing, total=total)
    samples = tuple(Sample((("le", label),), count) for label, count in zip(_LABELS, counts, strict=True))
    return MetricFamily(name=name, kind=MetricKind.HISTOGRAM, help=text, samples=samples, total=total)
