"""When a reload may come, and for whom a replaced process has to end.

A reload leaves the process before it to serve the connections it has, tunnels among them, and only a few
such processes may be there at once. So a tenant who asks for reloads and holds tunnels could keep all
others from theirs. Two rules against that: who asked for several of the last reloads waits until replaced
processes end by themselves; for all others the oldest of them is ended, once it had time to finish.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from datetime import timedelta
from typing import Final

import anyio

from ingresskit.apply.haproxy.cli_responses import Worker
from ingresskit.apply.haproxy.master import Master
from ingresskit.apply.haproxy.options import HaproxyOptions
from ingresskit.errors import ApplyPostponed
from ingresskit.facts import fact_logger

__all__ = ["Turns"]

_logger = fact_logger(__name__)

_RETRY: Final = timedelta(seconds=5)
_REMEMBERED: Final = 6
_SEVERAL: Final = 2
_END_SECONDS: Final = 2.0


class Turns:
    """Decides when one HAProxy may reload.

    Args:
        master: The process.
        options: The gaps and bounds.
    """

    def __init__(self, master: Master, options: HaproxyOptions) -> None:
        self._master = master
        self._options = options
        self._asked: deque[frozenset[str]] = deque(maxlen=_REMEMBERED)
        self._reloaded: float | None = None
        self._took = 0.0
        # When the processes that are there were replaced, by pid.
        self._replaced: dict[int, float] = {}

    async def wait(self, asking: Set[str]) -> None:
        """Return when a reload may come now.

        Args:
            asking: The namespaces that need it; empty: nobody's doing.

        Raises:
            ApplyPostponed: It has to wait.
            ApplyError: HAProxy cannot be reached.
        """
        now = anyio.current_time()
        if self._reloaded is not None:
            gap = max(self._options.reload_gap.total_seconds(), self._took / self._options.reload_share)
            left = self._reloaded + gap - now
            if left > 0:
                raise ApplyPostponed(
                    f"HAProxy was reloaded just now; the next reload is due in {left:.1f} s",
                    retry_after=timedelta(seconds=left),
                )
        old = (await self._master.api.processes()).old_workers
        self._replaced = {worker.pid: self._replaced.get(worker.pid, now) for worker in old}
        if len(old) < self._options.most_old_workers:
            return
        message = f"{len(old)} replaced processes of HAProxy still serve connections"
        if not any(self._may_end_others(namespace) for namespace in asking):
            raise ApplyPostponed(message, retry_after=_RETRY)
        oldest = max(old, key=lambda worker: worker.reloads)
        left = self._replaced[oldest.pid] + self._options.old_worker_grace.total_seconds() - now
        if left > 0:
            message += f"; the oldest is ended in {left:.1f} s"
            raise ApplyPostponed(message, retry_after=min(timedelta(seconds=left), _RETRY))
        await self._end(oldest)

    def reloaded(self, asking: Set[str], took: float) -> None:
        """A reload was tried just now, which took so many seconds."""
        self._asked.append(frozenset(asking))
        self._reloaded, self._took = anyio.current_time(), took

    def _may_end_others(self, namespace: str) -> bool:
        return sum(namespace in asked for asked in self._asked) < _SEVERAL

    async def _end(self, worker: Worker) -> None:
        _logger.warning(
            "ending a replaced process of haproxy, as the change of another namespace waits",
            extra={"pid": worker.pid},
        )
        await self._master.end_worker(worker.pid)
        with anyio.move_on_after(_END_SECONDS):
            while await self._is_there(worker):  # noqa: ASYNC110 - another process is waited for
                await anyio.sleep(0.02)

    async def _is_there(self, worker: Worker) -> bool:
        found = await self._master.api.processes()
        return any(item.pid == worker.pid for item in found.old_workers)
