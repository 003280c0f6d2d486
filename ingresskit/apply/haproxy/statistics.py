"""Counts of what HAProxy did, read from it now and then, and the metrics of HAProxy alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from typing_extensions import override

from ingresskit.apply.haproxy.outages import Outages
from ingresskit.graph import BackendKey, Termination
from ingresskit.traffic import (
    BackendStatistics,
    DurationTally,
    EndpointHealth,
    MetricFamily,
    ProxyStatistics,
    counter,
    gauge,
)

__all__ = ["HaproxyBackendStatistics", "HaproxyStatistics", "Tally"]

_CLASSES: Final = {1: "hrsp_1xx", 2: "hrsp_2xx", 3: "hrsp_3xx", 4: "hrsp_4xx", 5: "hrsp_5xx"}


HaproxyBackendStatistics = BackendStatistics
"""The counts of one backend: those of every proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyStatistics(ProxyStatistics):
    """Counts since the controller began to read them; those that end in ``_open`` are of then.

    What a process did between the last reading and its end is not among them. HAProxy does not know which
    rule host a request was for, nor its status and how it ended: *requests*, *statuses*, *terminations*,
    *durations* and *first_bytes* are there with an access log only.

    Attributes:
        requests_by_class: By the first digit of the status.
        reloads: Starts and reloads.
        restarts: How often HAProxy ended by itself and was started again.
        old_workers_open: Replaced processes that still serve connections.
        log_lines_dropped: Lines of the access log that HAProxy could not hand over.
        log_lines_unreadable: Lines of the access log that were none.
        endpoints_left_out_open: Endpoints that take no connections and get no requests; one of several
            backends counts for each.
        changes_waiting_open: Objects that ask for a reload which has to wait.
        removed_certificates_open: Lines taken out of the list of certificates since the last reload; HAProxy
            keeps about 20 KB of each.
        slots_open: Empty backends that new ones can be put into.
    """

    requests_by_class: Mapping[int, int] = field(default_factory=dict[int, int])
    reloads: int = 0
    restarts: int = 0
    old_workers_open: int = 0
    endpoints_left_out_open: int = 0
    changes_waiting_open: int = 0
    removed_certificates_open: int = 0
    slots_open: int = 0
    log_lines_dropped: int = 0
    log_lines_unreadable: int = 0

    @override
    def all_by_class(self) -> Mapping[int, int]:
        return self.requests_by_class

    @override
    def own_families(self) -> Iterator[MetricFamily]:
        yield counter("reloads", "Starts and reloads of HAProxy.", self.reloads)
        yield counter("restarts", "Starts of HAProxy after it ended by itself.", self.restarts)
        old = "Replaced processes that still serve connections."
        yield gauge("old_workers_open", old, self.old_workers_open)
        left_out, waiting = self.endpoints_left_out_open, self.changes_waiting_open
        text = "Endpoints that take no connections and get no requests, by backends that list them."
        yield gauge("endpoints_left_out_open", text, left_out)
        text = "Objects that ask for a reload which has to wait."
        yield gauge("changes_waiting_open", text, waiting)
        removed = self.removed_certificates_open
        text = "Certificates taken out since the last reload, which HAProxy still keeps in memory."
        yield gauge("removed_certificates_open", text, removed)
        yield gauge("slots_open", "Empty backends that new ones can be put into.", self.slots_open)
        dropped, unreadable = self.log_lines_dropped, self.log_lines_unreadable
        text = "Lines of the access log that HAProxy could not hand over."
        yield counter("log_lines_dropped", text, dropped)
        text = "Lines of the access log that could not be read."
        yield counter("log_lines_unreadable", text, unreadable)


class Tally:
    """Adds up what one process after the other counted from 0."""

    def __init__(self) -> None:
        self._process = ""
        self._seen: dict[tuple[str, str, str], int] = {}
        self._totals: dict[str, int] = {}
        self._classes: dict[int, int] = {}
        self._backends: dict[BackendKey, list[int]] = {}
        self._hosts: dict[str, dict[int, int]] = {}
        self._statuses: dict[int, int] = {}
        self._terminations: dict[Termination, int] = {}
        self._active: dict[BackendKey, int] = {}
        self._open = self._retries = 0
        self._durations, self._first_bytes = DurationTally(), DurationTally()

    def count_request(
        self,
        rule_host: str,
        status: int,
        termination: Termination | None = None,
        *,
        duration: float = 0.0,
        first_byte: float | None = None,
    ) -> None:
        """One request of the access log."""
        self._durations.add(duration)
        if first_byte is not None:
            self._first_bytes.add(first_byte)
        self._statuses[status] = self._statuses.get(status, 0) + 1
        if termination is not None:
            self._terminations[termination] = self._terminations.get(termination, 0) + 1
        classes = self._hosts.setdefault(rule_host, {})
        classes[status // 100] = classes.get(status // 100, 0) + 1

    def keep_hosts(self, hosts: Iterable[str]) -> None:
        """Count those of hosts that are gone as nobody's: names come and go, memory must not only grow."""
        there = set(hosts)
        for gone in [host for host in self._hosts if host and host not in there]:
            nobody = self._hosts.setdefault("", {})
            for digit, count in self._hosts.pop(gone).items():
                nobody[digit] = nobody.get(digit, 0) + count

    def take(self, process: str, rows: Iterable[Mapping[str, str]], holders: Mapping[str, BackendKey]) -> None:
        """Add what a process counted since the last time.

        Args:
            process: Its pid: another one counts from 0.
            rows: Of ``show stat``: the frontend's and those of servers.
            holders: By slot, what it is a slot of.
        """
        if process != self._process:
            self._process, self._seen = process, {}
        seen: dict[tuple[str, str, str], int] = {}
        active: dict[BackendKey, int] = {}

        def grown(row: Mapping[str, str], column: str) -> int:
            place = (row["pxname"], row["svname"], column)
            now = int(row.get(column) or 0)
            before = self._seen.get(place, 0)
            seen[place] = now
            return now - before if now >= before else now

        for row in rows:
            if row["svname"] == "FRONTEND":
                for name in ("conn_tot", "bin", "bout"):
                    self._totals[name] = self._totals.get(name, 0) + grown(row, name)
                for digit, column in _CLASSES.items():
                    if more := grown(row, column):
                        self._classes[digit] = self._classes.get(digit, 0) + more
                self._open = int(row.get("scur") or 0)
                continue
            self._retries += grown(row, "wretr")
            requests, failures = grown(row, "stot"), grown(row, "econ") + grown(row, "eresp")
            if (key := holders.get(row["pxname"])) is not None:
                counts = self._backends.setdefault(key, [0, 0])
                counts[0] += requests
                counts[1] += failures
                active[key] = active.get(key, 0) + int(row.get("scur") or 0)
        self._seen = seen
        self._active = active
        there = set(holders.values())
        self._backends = {key: counts for key, counts in self._backends.items() if key in there}

    def statistics(
        self,
        *,
        reloads: int,
        restarts: int = 0,
        old_workers: int,
        slots_free: int,
        dropped: int,
        unreadable: int,
        left_out: Outages | None = None,
        unwritten: str = "",
        timed: bool = False,
        waiting: int = 0,
        removed: int = 0,
    ) -> HaproxyStatistics:
        """The counts so far, with what others know."""
        return HaproxyStatistics(
            connections_total=self._totals.get("conn_tot", 0),
            connections_open=self._open,
            requests_by_class=MappingProxyType(dict(sorted(self._classes.items()))),
            requests=MappingProxyType({host: dict(classes) for host, classes in sorted(self._hosts.items())}),
            statuses=MappingProxyType(dict(sorted(self._statuses.items()))),
            terminations=MappingProxyType(dict(sorted(self._terminations.items()))),
            retries=self._retries,
            durations=tuple(self._durations.counts) if timed else (),
            duration_sum=self._durations.total,
            first_bytes=tuple(self._first_bytes.counts) if timed else (),
            first_byte_sum=self._first_bytes.total,
            received_bytes=self._totals.get("bin", 0),
            sent_bytes=self._totals.get("bout", 0),
            reloads=reloads,
            restarts=restarts,
            old_workers_open=old_workers,
            endpoints_left_out_open=0 if left_out is None else left_out.count,
            unwell=_unreachable(left_out),
            unwritten=unwritten,
            changes_waiting_open=waiting,
            removed_certificates_open=removed,
            slots_open=slots_free,
            log_lines_dropped=dropped,
            log_lines_unreadable=unreadable,
            backends=MappingProxyType(
                {
                    key: BackendStatistics(
                        requests=counts[0], failures=counts[1], active=self._active.get(key, 0)
                    )
                    for key, counts in sorted(self._backends.items())
                }
            ),
        )


def _unreachable(outages: Outages | None) -> Mapping[str, EndpointHealth]:
    found = () if outages is None else sorted(outages.endpoints)
    return MappingProxyType(dict.fromkeys(found, EndpointHealth.UNREACHABLE))
