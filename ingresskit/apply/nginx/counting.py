"""Reading the counts of a running nginx, once a second."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import NoReturn, cast

import anyio

from ingresskit.apply.nginx.addresses import close_socket
from ingresskit.apply.nginx.control import Control
from ingresskit.apply.nginx.statistics import NginxStatistics, read_statistics
from ingresskit.errors import ApplyError
from ingresskit.graph import BackendKey
from ingresskit.render.nginx import NginxArtifact

__all__ = ["StatisticsReader"]

_INTERVAL_SECONDS = 1.0


class StatisticsReader:
    """The counts of an nginx, as of a second ago.

    Args:
        control: Its private socket.
        status_socket: Where that lies; each time nginx is started it opens it anew, for all users.
        running: Whether it serves now.
        events: Reloads, restarts, and workers of older configurations that still finish.

    Attributes:
        latest: The counts.
        backends: By the name of an upstream, or the id of a backend, what it stands for.
    """

    def __init__(
        self,
        control: Control,
        status_socket: str,
        *,
        running: Callable[[], bool],
        events: Callable[[], tuple[int, int, int]],
    ) -> None:
        self.latest: NginxStatistics = NginxStatistics()
        self.backends: Mapping[str, BackendKey] = {}
        self._served: Mapping[str, BackendKey] = {}
        self._control = control
        self._status_socket = status_socket
        self._running = running
        self._events = events
        self._program_counts = False

    def expecting(self, artifact: NginxArtifact) -> None:
        """*artifact* is about to be served: the first requests to it are over before its push is."""
        self.backends = ChainMap(
            cast("dict[str, BackendKey]", artifact.backend_keys), cast("dict[str, BackendKey]", self._served)
        )

    def serving(self, artifact: NginxArtifact) -> None:
        """From now on *artifact* is served."""
        self._program_counts = artifact.tables is not None
        self.backends = self._served = artifact.backend_keys

    async def run(self, *, connections: bool) -> NoReturn:
        """Read them again and again, until cancelled.

        Args:
            connections: Whether nginx counts connections (`Capabilities.stub_status`).
        """
        while True:
            await anyio.sleep(_INTERVAL_SECONDS)
            if not self._running():
                continue
            try:
                close_socket(self._status_socket)
                status = await self._control.status() if connections else ""
                counts = await self._control.counts() if self._program_counts else {}
            except ApplyError:
                continue  # nginx is starting or reloading; try again at the next interval
            reloads, restarts, old_workers = self._events()
            self.latest = read_statistics(
                status, counts, self.backends, reloads=reloads, restarts=restarts, old_workers=old_workers
            )
