"""Counts of what nginx did, read from it now and then, in the shape that the controller's metrics read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ingresskit.graph import BackendKey, Termination

__all__ = ["NginxBackendStatistics", "NginxStatistics", "read_statistics"]

# As lua/ingresskit/statistics.lua has them, and `ingresskit.proxy`.
DURATION_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_STATUS = re.compile(
    r"Active connections: ([0-9]+) \nserver accepts handled requests\n ([0-9]+) ([0-9]+) ([0-9]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxBackendStatistics:
    """Counts of one backend; the words are those of `ingresskit.proxy`.

    Attributes:
        requests: Forwarded to it, each once however often it was tried.
        failures: Attempts that got no proper answer.
        active: Under way now.
    """

    requests: int = 0
    failures: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxStatistics:
    """Counts since nginx was started, as of a moment ago; those that end in ``_open`` are of then.

    A reload keeps them. Those from *requests* to *sent_bytes*, and *backends*, are there in the dynamic mode
    only, where the program counts; the private socket's own requests are among the connections.

    Attributes:
        requests: By rule host (empty: no rule took it), then by the first digit of the status.
        statuses: Requests by status, sorted; 499 is a client that left before a response began.
        terminations: Requests that did not end with a whole response of an endpoint or a redirect, by the
            reason; sorted; reasons without a request are left out.
        durations: Requests by duration, a count for each of *duration_bounds* and one for longer ones.
        upstream_failed: Attempts that got no proper answer.
        upstream_failures: Failed attempts to get a response of an endpoint, and responses that broke off, by
            the reason; sorted. An attempt that is followed by a successful one is counted here only.
        reloads: Reloads by this controller.
        restarts: How often nginx ended by itself.
        old_workers_open: Workers of older configurations that still finish what they have.
    """

    connections_total: int = 0
    connections_open: int = 0
    connections_refused: int = 0
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])
    statuses: Mapping[int, int] = field(default_factory=dict[int, int])
    terminations: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    durations: tuple[int, ...] = ()
    duration_sum: float = 0.0
    retries: int = 0
    upstream_failed: int = 0
    upstream_failures: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    received_bytes: int = 0
    sent_bytes: int = 0
    backends: Mapping[BackendKey, NginxBackendStatistics] = field(
        default_factory=dict[BackendKey, NginxBackendStatistics]
    )
    reloads: int = 0
    restarts: int = 0
    old_workers_open: int = 0

    @property
    def duration_bounds(self) -> tuple[float, ...]:
        """The upper bounds of *durations*, in seconds, but for the last one, which has none."""
        return DURATION_BOUNDS

    @property
    def requests_by_class(self) -> Mapping[int, int]:
        """All requests, by the first digit of the status."""
        totals: dict[int, int] = {}
        for classes in self.requests.values():
            for digit, count in classes.items():
                totals[digit] = totals.get(digit, 0) + count
        return totals


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
        retries=int(totals.get("retries", 0)),
        upstream_failed=int(totals.get("failed", 0)),
        received_bytes=int(totals.get("received", 0)),
        sent_bytes=int(totals.get("sent", 0)),
        backends={key: NginxBackendStatistics(**members) for key, members in sorted(backends.items())},
        statuses=dict(sorted(statuses.items())),
        terminations=dict(sorted(terminations.items())),
        upstream_failures=dict(sorted(failures.items())),
        reloads=reloads,
        restarts=restarts,
        old_workers_open=old_workers,
    )


_TERMINATIONS: Final = frozenset(Termination)
_BACKEND_COUNTS: Final = {"bq": "requests", "bf": "failures", "ba": "active"}
