"""What all connections of one proxy share."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.proxy.deadlines import Deadlines
from ingresskit.proxy.limits.buckets import TokenBuckets
from ingresskit.proxy.limits.crowd import Crowd
from ingresskit.proxy.limits.memory import Memory, connections_for, memory_limit, waiting_bytes_for
from ingresskit.proxy.message.forwarded import Peer, PublicPorts
from ingresskit.proxy.settings import ProxySettings
from ingresskit.proxy.statistics import Counters
from ingresskit.proxy.upstreams.balance import Balancer
from ingresskit.proxy.upstreams.pool import Pool
from ingresskit.proxy.upstreams.troubles import Repeated, Troubles

if TYPE_CHECKING:
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.render.inprocess import RoutingTable

__all__ = ["Plane"]

_logger = fact_logger(__name__)

_TLS_WEIGHT: Final = 4  # about 50 KB on uvloop
_BYTES_PER_HANDSHAKE: Final = 65536
_FILES_OF_OTHERS: Final = 64  # listeners, manifests, logs, and whatever else the program has open


class Plane:
    """The state of a running proxy. Only the event loop's thread touches it.

    Attributes:
        table: What is served now; each request reads it once.
        fading: Where routes are looked for that a proxy in front chose and *table* no longer has.
        buckets: What filters remember from one request to the next.
        max_connections: Client connections at a time.
        max_handshakes: Connections of one listener that have not proved yet what they have to.
        public_ports: The ports that clients reach the proxy at.
        https_listener_port: The port of the first TLS listener; ``None`` before there is one.
        small_head_bytes: A request head that is no larger exceeds no limit.
        draining: No connection outlives the request it serves.
        closing: Connections are cut; what ends now ends for that reason.
    """

    def __init__(
        self, settings: ProxySettings, table: RoutingTable, counters: Counters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.settings = settings
        self.table: RoutingTable = table
        self.fading: tuple[RoutingTable, ...] = ()
        self.counters = counters
        self.loop = loop
        self.deadlines: Deadlines = Deadlines(loop)
        self.pool: Pool = Pool(self)
        self.balancer: Balancer = Balancer(self.pool)
        self.buckets: TokenBuckets = TokenBuckets(self.deadlines.now)
        self.clients: set[ClientConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.public_ports: PublicPorts = PublicPorts(
            http=settings.public_http_port, https=settings.public_https_port or 443
        )
        self.https_listener_port: int | None = None
        limit = memory_limit()
        wanted = settings.max_connections
        most = settings.max_waiting_bytes or waiting_bytes_for(limit)
        self.max_connections: int = _most_connections(connections_for(limit) if wanted is None else wanted)
        self.max_handshakes: int = settings.max_handshakes
        if limit is not None:
            self.max_handshakes = min(self.max_handshakes, max(16, most // _BYTES_PER_HANDSHAKE))
        self.memory: Memory = Memory(most, min(most, settings.max_waiting_bytes_per_client))
        tls_weight = _TLS_WEIGHT if wanted is None and limit is not None else 1
        self.crowd: Crowd = Crowd(self.max_connections, tls_weight)
        self._warned: dict[str, Repeated] = {}
        self.draining = False
        self._loop_suspected = False
        self.closing = False
        self.troubles: Troubles = Troubles()
        self.emptied: asyncio.Event = asyncio.Event()
        # In seconds, worked out once: these are read at every request.
        self.connect_timeout: float = settings.connect_timeout.total_seconds()
        self.read_timeout: float = settings.read_timeout.total_seconds()
        self.send_timeout: float = settings.send_timeout.total_seconds()
        self.header_timeout: float = settings.header_timeout.total_seconds()
        self.body_timeout: float = settings.body_timeout.total_seconds()
        self.client_write_timeout: float = settings.client_write_timeout.total_seconds()
        self.idle_timeout: float = settings.idle_timeout.total_seconds()
        self.upstream_idle_timeout: float = settings.upstream_idle_timeout.total_seconds()
        self.unsafe_reuse: float = settings.unsafe_reuse.total_seconds()
        self.small_head_bytes: int = min(settings.max_request_line_bytes, settings.max_header_bytes)

    def swap(self, table: RoutingTable, fading: tuple[RoutingTable, ...] = ()) -> None:
        """Serve *table* from the next request on; see `Proxy.swap`."""
        hosts: Mapping[str, object] = table.hosts
        for older in fading:
            table = replace(table, backends={**older.backends, **table.backends})
            hosts = {**older.hosts, **hosts}
        self.table, self.fading = table, fading
        self.balancer.follow(table)
        self.counters.keep_hosts(hosts)

    def redirect_port(self, peer: Peer, host_port: int) -> int | None:
        """The port that a plain request is redirected to; ``None``: TLS is not served.

        Args:
            peer: Who asks.
            host_port: The port in ``Host``; 0 without one.
        """
        own = self.https_listener_port
        # A client that names the port of our own listener reaches us without a port mapping.
        if own is not None and not peer.tls and host_port == peer.listener_port:
            return own
        return None if own is None and self.settings.public_https_port is None else self.public_ports.https

    def connection_refused(self) -> None:
        """There was no room for a connection."""
        self.counters.connections_total += 1
        self.counters.connections_refused += 1
        self._warn("connections refused at the limit", {"limit": self.max_connections})

    def connection_given_up(self, reason: str) -> None:
        """A connection was closed to make room; *reason* is the limit that was reached."""
        self.counters.connections_given_up += 1
        self._warn("connections given up for others", {"reason": reason})

    def _warn(self, words: str, facts: dict[str, object]) -> None:
        repeated = self._warned.setdefault(f"{words} {facts.get('reason')}", Repeated())
        if repeated.is_due(self.deadlines.now()):
            facts["repeated"] = repeated.left_out
            repeated.left_out = 0
            _logger.warning(words, extra=facts)

    def suspect_redirect_loop(self, peer: Peer) -> None:
        """A trusted proxy that does not say which scheme the client used was redirected to TLS; logged once.

        If it takes TLS itself, its client comes back the same way, and is redirected again.
        """
        if not self._loop_suspected:
            self._loop_suspected = True
            _logger.warning(
                "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop",
                extra={"peer": peer.text},
            )


def _most_connections(wanted: int) -> int:
    """As many as are wanted, if each can have the file descriptor of a connection to an endpoint too.

    Without descriptors for those, every request would be answered 502, and nothing else could be opened
    by the program either.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or (possible := max(1, (files - _FILES_OF_OTHERS) // 2)) >= wanted:
        return wanted
    facts = {"wanted": wanted, "possible": possible, "openFiles": files}
    _logger.info("the limit of open files allows for fewer connections", extra=facts)
    return possible
