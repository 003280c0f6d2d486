"""The metrics of a data plane, as metric families.

The controller knows no proxy. Whatever carries traffic states its metrics itself, so that an in-process
proxy, nginx, HAProxy and one of your own can all be scraped without the controller importing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from ingresskit.traffic import Measured, MetricFamily, Sample

__all__ = ["OTHER", "LabelCap", "StatisticsSource", "capped"]

OTHER: Final = "(other)"
"""The label of the series that all members beyond a cap share."""


class StatisticsSource(Protocol):
    """What carries traffic and counts it; `ingresskit.proxy.Proxy` is one."""

    def statistics(self) -> Measured:
        """The counts now, which say what metrics they are.

        Must not block: it is called on the event loop, at each scrape.
        """
        ...


class LabelCap:
    """Lets the first so many values of a label have series of their own, and the rest share one.

    The values are made by whoever writes objects, so their number has no limit of its own. First
    come, first served, and gone when its owner is: a series never changes hands while it counts.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._admitted: dict[str, set[str]] = {}

    def admit(self, label: str, values: Sequence[str]) -> Mapping[str, str]:
        """For each of *values* of *label*, the one it gets: itself, or `OTHER`."""
        admitted = self._admitted.setdefault(label, set())
        admitted &= set(values)
        for value in values:
            if len(admitted) >= self._most:
                break
            admitted.add(value)
        return {value: value if value in admitted else OTHER for value in values}


def capped(family: MetricFamily, cap: LabelCap) -> MetricFamily:
    """*family* with no more values of its label than *cap* admits; nothing of the rest is lost.

    Only families whose label is unbounded are changed.
    """
    if not family.unbounded or not family.samples:
        return family
    label = family.samples[0].labels[0][0]
    shown = cap.admit(label, [sample.labels[0][1] for sample in family.samples])
    sums: dict[str, float] = {}
    for sample in family.samples:
        value = shown[sample.labels[0][1]]
        sums[value] = sums.get(value, 0.0) + sample.value
    return replace(
        family, samples=tuple(Sample(((label, value),), total) for value, total in sorted(sums.items()))
    )
