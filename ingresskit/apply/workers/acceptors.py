"""Which worker takes connections from which listening sockets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import anyio

from ingresskit.apply.workers.sockets import ListeningSockets
from ingresskit.apply.workers.worker import Worker
from ingresskit.render.workers import Accept, Release

__all__ = ["Acceptors"]


class Acceptors:
    """Gives groups of listening sockets to workers, so that each group always has one that takes connections.

    Args:
        response_timeout: For a worker to begin or to end taking them.
    """

    def __init__(self, response_timeout: timedelta) -> None:
        self._timeout = response_timeout
        self._holders: dict[int, Worker] = {}
        self._lock = anyio.Lock()
        self.sockets: ListeningSockets | None = None

    @property
    def is_complete(self) -> bool:
        """Whether each group has a worker."""
        return self.sockets is not None and len(self._holders) == len(self.sockets.groups)

    @property
    def is_empty(self) -> bool:
        """Whether no group has one."""
        return not self._holders

    async def assign(self, workers: Sequence[Worker | None]) -> None:
        """Give each group to the worker of its slot, or while that has none to the next one that there is.

        A worker takes connections before the one that did so before stops.

        Args:
            workers: By slot.
        """
        async with self._lock:
            if (sockets := self.sockets) is None:
                return
            tls = tuple([address.tls for address in sockets.addresses])
            for group in range(len(sockets.groups)):
                order = [workers[(group + step) % len(workers)] for step in range(len(workers))]
                worker = next((one for one in order if one is not None and not one.failure), None)
                before = self._holders.get(group)
                if worker is None or worker is before:
                    continue
                descriptors = sockets.descriptors(group)
                found = await worker.ask(Accept(group=group, tls=tls), self._timeout, descriptors)
                if "accepts" not in found:
                    worker.fail(f"takes no connections: {found.get('unread') or found.get('refused')}")
                    continue
                self._holders[group] = worker
                if before is not None and not before.failure:
                    await before.ask(Release(group=group), self._timeout)

    def forget(self, worker: Worker) -> None:
        """*worker* has ended."""
        for group in [group for group, holder in self._holders.items() if holder is worker]:
            del self._holders[group]

    def close(self) -> None:
        """Close the owner's descriptors: nothing keeps what waits in their queues."""
        if self.sockets is not None:
            self.sockets.close()
            self.sockets = None
