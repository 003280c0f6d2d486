"""The connections of clients: those that there are, how many there may be, and what they may hold."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.proxy.limits.crowd import Crowd
from ingresskit.proxy.limits.memory import Memory, connections_for, memory_limit, waiting_bytes_for
from ingresskit.proxy.limits.trimming import Trimming
from ingresskit.proxy.repeated import Repeated

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.ports.connections import ClientConnection
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.statistics import Counters

__all__ = ["Clients"]

_logger = fact_logger(__name__)

_TLS_WEIGHT: Final = 4  # 25 to 30 KB
_BYTES_PER_HANDSHAKE: Final = 65536
_FILES_OF_OTHERS: Final = 64  # listeners, manifests, logs, and whatever else the program has open


class Clients:
    """The connections of clients of one proxy, in whichever protocol.

    Attributes:
        connections: All that stand.
        emptied: Set when the last one ended, cleared when one is made.
        trimming: Gives memory back when many of them have ended.
        crowd: Who has how many of them.
        memory: What they make the proxy hold.
        max_connections: How many there may be.
        max_handshakes: Connections of one listener that have not proved yet what they have to.
    """

    def __init__(self, settings: ProxySettings, counters: Counters, deadlines: Deadlines) -> None:
        self._counters = counters
        self._deadlines = deadlines
        self._warned: dict[str, Repeated] = {}
        self.connections: set[ClientConnection] = set()
        self.trimming: Trimming = Trimming(deadlines.loop)
        self.emptied: asyncio.Event = asyncio.Event()
        limit = memory_limit()
        wanted, processes = settings.max_connections, settings.processes
        most = max(1, (settings.max_waiting_bytes or waiting_bytes_for(limit)) // processes)
        per_client = max(1, settings.max_waiting_bytes_per_client // processes)
        connections = connections_for(limit) if wanted is None else wanted
        self.max_connections: int = _most_connections(max(1, connections // processes))
        self.max_handshakes: int = max(1, settings.max_handshakes // processes)
        if limit is not None:
            self.max_handshakes = min(self.max_handshakes, max(16, most // _BYTES_PER_HANDSHAKE))
        self.memory: Memory = Memory(most, min(most, per_client))
        tls_weight = _TLS_WEIGHT if wanted is None and limit is not None else 1
        self.crowd: Crowd = Crowd(self.max_connections, tls_weight)

    def made(self, connection: ClientConnection) -> None:
        """A connection was made; it may still be refused."""
        self._counters.connections_open += 1
        self.connections.add(connection)
        self.emptied.clear()
        if (count := len(self.connections)) > self.trimming.most:
            self.trimming.most = count

    def lost(self, connection: ClientConnection) -> None:
        """A connection ended."""
        self._counters.connections_open -= 1
        self.connections.discard(connection)
        count = len(self.connections)
        if count * 2 < self.trimming.most:
            self.trimming.fell(count)
        if not count:
            self.emptied.set()

    def refused(self) -> None:
        """There was no room for a connection."""
        self._counters.connections_total += 1
        self._counters.connections_refused += 1
        self._warn("connections refused at the limit", {"limit": self.max_connections})

    def given_up(self, reason: str) -> None:
        """A connection was closed to make room; *reason* is the limit that was reached."""
        self._counters.connections_given_up += 1
        self._warn("connections given up for others", {"reason": reason})

    def _warn(self, words: str, facts: dict[str, object]) -> None:
        repeated = self._warned.setdefault(f"{words} {facts.get('reason')}", Repeated())
        if repeated.is_due(self._deadlines.now()):
            facts["repeated"] = repeated.left_out
            repeated.left_out = 0
            _logger.warning(words, extra=facts)


def _most_connections(wanted: int) -> int:
    """As many as are wanted, if each can have the file descriptor of a connection to an endpoint too.

    Without descriptors for those, every request would get 502, and nothing else could be opened
    by the program either.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or (possible := max(1, (files - _FILES_OF_OTHERS) // 2)) >= wanted:
        return wanted
    facts = {"wanted": wanted, "possible": possible, "openFiles": files}
    _logger.info("the limit of open files allows for fewer connections", extra=facts)
    return possible
