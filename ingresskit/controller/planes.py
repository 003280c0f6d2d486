"""The counts of whatever carries the traffic, read by rules instead of by type.

The controller knows no proxy. It reads the statistics of any by the names and shapes of their parts,
so that an in-process proxy, nginx and HAProxy can all be scraped without it importing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, cast

from ingresskit.graph import Termination

_GAUGES = frozenset({"active", "idle", "objects", "open", "seconds", "undecodable"})
# Counts by a closed vocabulary, which need no cap: the family, its label, its help.
_COUNTS = {
    "statuses": ("responses", "status", "Responses by status."),
    "terminations": (
        "request_terminations",
        "reason",
        "Requests that got no whole response of an endpoint, by reason.",
    ),
    "upstream_failures": (
        "upstream_failures",
        "reason",
        "Failed attempts to get a response of an endpoint, by reason.",
    ),
}

__all__ = ["OTHER", "Family", "FamilyKind", "LabelCap", "Series", "StatisticsSource", "families"]

OTHER: Final = "(other)"
"""The label of the series that all members beyond a cap share."""


class StatisticsSource(Protocol):
    """What carries traffic and counts it; `ingresskit.proxy.Proxy` is one."""

    def statistics(self) -> object:
        """The counts now, as a dataclass or a mapping; see `families` for what is read of it.

        Must not block: it is called on the event loop, at each scrape.
        """
        ...


class FamilyKind(StrEnum):
    """What the numbers of a family do over time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Series:
    """One number of a family. ``labels`` are name and value, in the order of the family's labels."""

    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric: one or more numbers under one name.

    Attributes:
        name: Without prefix and without ``_total``.
        series: For a histogram: one for each bound, labelled ``le``, not cumulative. For a
            summary: how much was observed.
        total: Of a histogram or summary: the sum of all that was observed.
    """

    name: str
    kind: FamilyKind
    help: str
    series: tuple[Series, ...]
    total: float = 0.0


class LabelCap:
    """Lets the first so many values of a label have series of their own, and the rest share one.

    The values are made by whoever writes objects, so their number has no limit of its own. First
    come, first served, and gone when its owner is: a series never changes hands while it counts.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._admitted: dict[str, set[str]] = {}

    def admit(self, family: str, values: Sequence[str]) -> Mapping[str, str]:
        """For each of *values*, the label it gets: itself, or `OTHER`."""
        admitted = self._admitted.setdefault(family, set())
        admitted &= set(values)
        for value in values:
            if len(admitted) >= self._most:
                break
            admitted.add(value)
        return {value: value if value in admitted else OTHER for value in values}


def families(statistics: object, cap: LabelCap) -> Iterator[Family]:
    """The metrics in *statistics*, by these rules.

    - A number is a counter; a gauge when its name is one of ``active``, ``idle``, ``objects`` and
      ``undecodable``, or ends in ``_open``.
    - A duration in a mapping of dataclasses is a gauge, in seconds.
    - ``durations``, counts by duration, with ``duration_bounds``, the upper bounds in seconds of all
      but the last of them, and ``duration_sum``, in seconds, are a histogram. Without bounds they
      are a summary: their number and their sum.
    - ``requests_by_class``, counts by first digit of the status, is a counter with the label ``class``.
    - ``terminations`` and ``upstream_failures``, counts by `ingresskit.graph.Termination`, are counters
      (``request_terminations`` and ``upstream_failures``) with the label ``reason``; ``statuses``, counts
      by status, is the counter ``responses`` with the label ``status``.
    - A mapping whose values are dataclasses (``backends``) gives a metric for each of their numbers,
      with a label named by the mapping, in the singular. *cap* bounds its values.
    - Anything else is left out, such as counts by host, whose number tenants decide.
    """
    members = _members(statistics)
    for name, value in members.items():
        if name == "duration_sum":
            continue
        if name == "durations":
            yield from _durations(members)
        elif name == "requests_by_class" and isinstance(value, Mapping):
            classes = cast("Mapping[int, int]", value)
            series = (Series((("class", f"{digit}xx"),), classes[digit]) for digit in sorted(classes))
            yield Family(
                name="requests",
                kind=FamilyKind.COUNTER,
                help="Requests by class of status.",
                series=tuple(series),
            )
        elif name in _COUNTS and isinstance(value, Mapping):
            yield from _counts(name, cast("Mapping[object, float]", value))
        elif isinstance(value, Mapping):
            yield from _labelled(name, cast("Mapping[object, object]", value), cap)
        elif _is_number(value):
            yield _number(name, [Series((), float(cast(float, value)))])


def _members(statistics: object) -> Mapping[str, object]:
    if isinstance(statistics, Mapping):
        return cast("Mapping[str, object]", statistics)
    members: dict[str, object] = {}
    if is_dataclass(statistics):
        members = {item.name: getattr(statistics, item.name) for item in fields(statistics)}
        for name in ("requests_by_class", "duration_bounds"):  # may be properties
            if name not in members and hasattr(statistics, name):
                members[name] = getattr(statistics, name)
    return members


def _number(name: str, series: Sequence[Series]) -> Family:
    gauge = name.rpartition("_")[2] in _GAUGES
    words = name.removesuffix("_total").replace("_", " ")
    return Family(
        name=name.removesuffix("_total"),
        kind=FamilyKind.GAUGE if gauge else FamilyKind.COUNTER,
        help=f"{words.capitalize()}{' now' if gauge else ' since the start'}.",
        series=tuple(series),
    )


def _durations(members: Mapping[str, object]) -> Iterator[Family]:
    counts = cast("Sequence[int]", members["durations"])
    bounds = cast("Sequence[float]", members.get("duration_bounds") or ())
    total = float(cast(float, members.get("duration_sum", 0.0)))
    if len(bounds) + 1 == len(counts):
        labels = (*(repr(float(bound)) for bound in bounds), "+Inf")
        series = tuple(Series((("le", label),), count) for label, count in zip(labels, counts, strict=True))
        yield Family(
            name="request_duration_seconds",
            kind=FamilyKind.HISTOGRAM,
            help="How long requests took.",
            series=series,
            total=total,
        )
    else:
        yield Family(
            name="request_duration_seconds",
            kind=FamilyKind.SUMMARY,
            help="How long requests took.",
            series=(Series((), sum(counts)),),
            total=total,
        )


def _labelled(name: str, mapping: Mapping[object, object], cap: LabelCap) -> Iterator[Family]:
    label = name.removesuffix("s")
    entries = {str(key): _members(value) for key, value in mapping.items() if is_dataclass(value)}
    if not entries:
        return
    shown = cap.admit(name, list(entries))
    sums: dict[str, dict[str, float]] = {}
    for key, members in entries.items():
        for member, value in members.items():
            if isinstance(value, timedelta):
                member, value = f"{member}_seconds", value.total_seconds()
            if _is_number(value):
                column = sums.setdefault(member, {})
                column[shown[key]] = column.get(shown[key], 0.0) + float(cast(float, value))
    for member, column in sums.items():
        series = [Series(((label, key),), value) for key, value in sorted(column.items())]
        yield _number(f"{label}_{member}", series)


def _counts(name: str, counts: Mapping[object, float]) -> Iterator[Family]:
    family, label, text = _COUNTS[name]
    values = {str(key): float(count) for key, count in counts.items()}
    if label == "reason":
        # A rate needs a beginning: reasons that have not occurred yet are there with 0.
        start = "upstream_" if name == "upstream_failures" else ""
        for reason in Termination:
            if reason.startswith(start):
                values.setdefault(reason.value, 0.0)
    series = tuple(Series(((label, key),), value) for key, value in sorted(values.items()))
    yield Family(name=family, kind=FamilyKind.COUNTER, help=text, series=series)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
