"""Following what HAProxy does with traffic: its counts, read now and then, and its access log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from ingresskit.apply.delegate.traffic import front_record, with_delegate
from ingresskit.apply.haproxy.accesslog import AccessLogSocket
from ingresskit.apply.haproxy.outages import Outages
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.haproxy.statistics import HaproxyStatistics, Tally
from ingresskit.apply.haproxy.supervisor import HaproxySupervisor
from ingresskit.errors import ApplyError
from ingresskit.facts import fact_logger
from ingresskit.graph import BackendKey
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate.control import DelegateCounts
from ingresskit.render.haproxy import MapName
from ingresskit.render.haproxy.route_row import REDIRECT_LOOP

__all__ = ["Traffic"]

_logger = fact_logger(__name__)

# Of the time, reading counts may take a hundredth.
_SHARE: Final = 0.01


class Traffic:
    """Reads the counts of a HAProxy, and its access log where it is asked for.

    Args:
        api: The runtime API.
        supervisor: Knows what stands in which slot.
        interval: The least time between two readings; with many servers it is longer.
        access_log: Called for each request; ``None``: the log is not read.
        socket: The path of the socket of the access log.
        delegate: What a delegate counted; ``None``: there is none.
        proxies: Whether some proxies are trusted, whose clients a redirect to TLS may bring back for ever.
    """

    def __init__(
        self,
        api: RuntimeApi,
        supervisor: HaproxySupervisor,
        *,
        interval: timedelta,
        access_log: Callable[[AccessRecord], None] | None,
        socket: Path,
        proxies: bool = False,
        delegate: Callable[[], DelegateCounts] | None = None,
    ) -> None:
        self._api = api
        self._supervisor = supervisor
        self._delegate = delegate
        self._interval = interval.total_seconds()
        self._access_log = access_log
        self._tally = Tally()
        self._outages = Outages()
        self._old_workers = self._dropped = 0
        self._parse_failure_logged = False
        self._loop_awaited = proxies
        self._holders: dict[str, BackendKey] = {}
        self.log: AccessLogSocket | None = None
        if access_log is not None:
            self.log = AccessLogSocket(socket, keys=self._key_of, record=self.take_record)

    async def run(self) -> None:
        """Read until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self.log is not None:
                tasks.start_soon(self.log.run)
            while True:
                begun = anyio.current_time()
                try:
                    await self.read()
                except ApplyError:
                    pass  # it may be down, or replace itself just now: there is a next time
                except (KeyError, ValueError) as exc:
                    if not self._parse_failure_logged:
                        _logger.warning("haproxy's counts could not be read", extra={"reason": repr(exc)})
                    self._parse_failure_logged = True
                took = anyio.current_time() - begun
                await anyio.sleep(max(self._interval, took / _SHARE))

    async def read(self) -> None:
        """Read the counts now.

        Raises:
            ApplyError: HAProxy cannot be reached.
        """
        info = await self._api.info()
        rows = [
            *await self._api.stat("-1", "1", "-1"),
            *await self._api.stat("-1", "4", "-1", "no-maint"),
        ]
        processes = await self._api.processes()
        self._old_workers = len(processes.old_workers)
        self._dropped = int(info.get("DroppedLogs") or 0)
        holders = self._holders_now()
        process = info.get("Pid", "")
        await anyio.to_thread.run_sync(self._tally.take, process, rows, holders)
        self._outages.take(process, rows, holders)
        if self._loop_awaited and await self._api.is_set(REDIRECT_LOOP):
            self._loop_awaited = False
            _logger.warning("a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop")

    def statistics(self) -> HaproxyStatistics:
        """The counts as they were last read."""
        live = self._supervisor.live
        found = self._tally.statistics(
            reloads=self._supervisor.reloads.total(),
            restarts=self._supervisor.restarts,
            old_workers=self._old_workers,
            slots_free=0 if live is None else sum(map(live.slots.free, live.slots.pools)),
            left_out=self._outages,
            unwritten=self._supervisor.unwritten,
            timed=self.log is not None,
            waiting=self._supervisor.waiting,
            removed=0 if live is None else live.unlisted,
            dropped=self._dropped,
            unreadable=0 if self.log is None else self.log.unreadable,
        )
        if self._delegate is None:
            return found
        return with_delegate(found, self._delegate())

    def _holders_now(self) -> Mapping[str, BackendKey]:
        """By slot, what it is a slot of; slots that are being emptied keep what they were."""
        live = self._supervisor.live
        if live is None:
            return {}
        held = live.slots.held()
        now = {held[item]: backend.key for item, backend in live.artifact.backends.items() if item in held}
        self._holders = {slot: key for slot, key in self._holders.items() if slot in live.leaving} | now
        if self.log is not None:
            self._tally.keep_hosts(
                pointer.key for pointer in live.artifact.pointers if pointer.map is MapName.HOSTS
            )
        return self._holders

    def _key_of(self, backend: str) -> BackendKey | None:
        live, coming = self._supervisor.live, self._supervisor.coming
        for artifact in (None if live is None else live.artifact, coming):
            if artifact is not None and (found := artifact.backends.get(backend)) is not None:
                return found.key
        return None

    def take_record(self, request: AccessRecord) -> None:
        """Count and log a request; one that HAProxy handed over is the delegate's to report."""
        if (own := front_record(request)) is not None:
            self.take_delegated(own)

    def take_delegated(self, request: AccessRecord) -> None:
        """Count and log a request that the delegate served."""
        self._tally.count_request(
            request.rule_host,
            request.status,
            request.termination,
            duration=request.duration,
            first_byte=request.first_byte_time,
        )
        if self._access_log is not None:
            self._access_log(request)
