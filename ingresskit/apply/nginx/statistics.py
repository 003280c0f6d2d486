"""Counts of what nginx did, read from it now and then, and the metrics of nginx alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from ingresskit.graph import BackendKey, Termination
from ingresskit.traffic import (
    DURATION_BOUNDS,
    BackendStatistics,
    MetricFamily,
    TimedProxyStatistics,
    counter,
    gauge,
)

__all__ = ["NginxBackendStatistics", "NginxStatistics", "read_statistics"]

_STATUS = re.compile(
    r"Active connections: ([0-9]+) \nserver accepts handled requests\n ([0-9]+) ([0-9]+) ([0-9]+)"
)


NginxBackendStatistics = BackendStatistics
"""The counts of one backend: those of every proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxStatistics(TimedProxyStatistics):
    """Counts since nginx was started, as of a moment ago; those that end in ``_open`` are of then.

    A reload keeps them. All but those of connections, and those that are listed here, are there in the
    dynamic mode only, where the program counts; the private socket's own requests are among the connections.

    Attributes:
        reloads: Reloads by this controller.
        restarts: How often nginx ended by itself.
        old_workers_open: Workers of older configurations that still finish what they have.
    """

    reloads: int = 0
    restarts: int = 0
    old_workers_open: int = 0

    @override
    def own_families(self) -> Iterator[MetricFamily]:
        yield from TimedProxyStatistics.own_families(self)
        yield counter("reloads", "Reloads of nginx.", self.reloads)
        yield counter("restarts", "Starts of nginx after it ended by itself.", self.restarts)
        old = "Workers of older configurations that still finish what they have."
        yield gauge("old_workers_open", old, self.old_workers_open)


def read_statistics(
    status: str,
    counts: Mapping[str, object],
    keys: Mapping[str, BackendKey],
    *,
    reloads: int = 0,
    restarts: int = 0,
    old_workers: int = 0,
) -> NginxStatistics:
    """The statistics in what nginx says.

    Args:
        status: The text of ``stub_status``; empty: none.
        counts: As `Control.counts` gives them; names nobody knows are passed over.
        keys: By the backend ids in *counts*; others are passed over: their backends are gone.
        reloads: As `NginxStatistics`.
        restarts: As `NginxStatistics`.
        old_workers: For `NginxStatistics.old_workers_open`.
    """
    found = _STATUS.search(status)
    active, accepted, handled = (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
    requests: dict[str, dict[int, int]] = {}
    durations = [0] * (len(DURATION_BOUNDS) + 1)
    first_bytes = [0] * (len(DURATION_BOUNDS) + 1)
    backends: dict[BackendKey, dict[str, int]] = {}
    totals: dict[str, float] = {}
    terminations: dict[Termination, int] = {}
    failures: dict[Termination, int] = {}
    statuses: dict[int, int] = {}
    for name, value in counts.items():
        if not isinstance(value, int | float):
            continue
        kind, colon, rest = name.partition(":")
        if not colon:
            totals[name] = value
        elif len(kind) == 2 and kind[0] == "r" and kind[1].isdigit():
            requests.setdefault(rest, {})[int(kind[1])] = int(value)
        elif kind == "d" and rest.isdigit() and 0 < int(rest) <= len(durations):
            durations[int(rest) - 1] = int(value)
        elif kind == "h" and rest.isdigit() and 0 < int(rest) <= len(first_bytes):
            first_bytes[int(rest) - 1] = int(value)
        elif kind == "t" and rest in _TERMINATIONS:
            terminations[Termination(rest)] = int(value)
        elif kind == "f" and rest in _TERMINATIONS:
            failures[Termination(rest)] = int(value)
        elif kind == "s" and rest.isdecimal():
            statuses[int(rest)] = int(value)
        elif kind in _BACKEND_COUNTS and rest in keys:
            backends.setdefault(keys[rest], {})[_BACKEND_COUNTS[kind]] = max(0, int(value))
    return NginxStatistics(
        connections_total=accepted,
        connections_open=active,
        connections_refused=accepted - handled,
        requests=requests,
        durations=tuple(durations) if requests else (),
        duration_sum=float(totals.get("ds", 0.0)),
        first_bytes=tuple(first_bytes) if requests else (),
        first_byte_sum=float(totals.get("hs", 0.0)),
        retries=int(totals.get("retries", 0)),
        upstream_failed=int(totals.get("failed", 0)),
        received_bytes=int(totals.get("received", 0)),
        sent_bytes=int(totals.get("sent", 0)),
        backends={key: BackendStatistics(**members) for key, members in sorted(backends.items())},
        statuses=dict(sorted(statuses.items())),
        terminations=dict(sorted(terminations.items())),
        upstream_failures=dict(sorted(failures.items())),
        reloads=reloads,
        restarts=restarts,
        old_workers_open=old_workers,
    )


_TERMINATIONS: Final = frozenset(Termination)
_BACKEND_COUNTS: Final = {"bq": "requests", "bf": "failures", "ba": "active"}
