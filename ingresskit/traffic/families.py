"""Metrics as values: whoever counts states them, and whoever is scraped prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Measured", "MetricFamily", "MetricKind", "Sample", "counter", "gauge", "labelled"]


class MetricKind(StrEnum):
    """What the numbers of a family do over time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a family. ``labels`` are name and value, in the order of the family's labels."""

    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFamily:
    """A metric: one or more numbers under one name.

    Attributes:
        name: Without prefix and without ``_total``.
        kind: What its numbers do over time.
        help: A sentence for whoever reads the metrics.
        samples: For a histogram: one for each bound, labelled ``le``, not cumulative. For a
            summary: how much was observed.
        total: Of a histogram or summary: the sum of all that was observed.
        unbounded: Whether the values of its one label are made by whoever writes objects. The controller
            shows the first of them only, and adds up the rest.
    """

    name: str
    kind: MetricKind
    help: str
    samples: tuple[Sample, ...]
    total: float = 0.0
    unbounded: bool = False


class Measured(Protocol):
    """Counts that say which metrics they are; `ProxyStatistics` is one."""

    def families(self) -> Iterable[MetricFamily]:
        """The metrics, each name once."""
        ...


def counter(name: str, text: str, value: float) -> MetricFamily:
    """A counter without labels. *name* comes without ``_total``; *text* is its help."""
    return MetricFamily(name=name, kind=MetricKind.COUNTER, help=text, samples=(Sample((), value),))


def gauge(name: str, text: str, value: float) -> MetricFamily:
    """A gauge without labels. *text* is its help."""
    return MetricFamily(name=name, kind=MetricKind.GAUGE, help=text, samples=(Sample((), value),))


def labelled(
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
    *,
    kind: MetricKind = MetricKind.COUNTER,
    unbounded: bool = False,
) -> MetricFamily:
    """A family with one label: a sample for each of *values*, sorted by its label. *text* is its help."""
    return MetricFamily(
        name=name,
        kind=kind,
        help=text,
        samples=tuple(Sample(((label, key),), value) for key, value in sorted(values.items())),
        unbounded=unbounded,
    )
