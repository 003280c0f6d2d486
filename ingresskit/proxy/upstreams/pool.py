"""Connections to endpoints: made, kept while they can carry another request, taken again.

The pool lends streams. A connection that carries one request at a time is not here while it does; one that
carries many stays here as long as it has room for another one. The connection that came back last is taken
first: it is the least likely one to be closed by its endpoint at this moment.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Endpoint, Protocol, Termination
from ingresskit.proxy.endpoints import PLAIN_USE, EndpointState, EndpointUse
from ingresskit.proxy.ports.connections import ConnectFailed, UpstreamConnection
from ingresskit.proxy.ports.streams import Upstream
from ingresskit.proxy.statistics import EndpointStatistics
from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_addresses
from ingresskit.proxy.upstreams.racing import alternated, first_of
from ingresskit.traffic import worse

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.statistics import Counters
    from ingresskit.proxy.timeouts import Timeouts

__all__ = ["Connect", "Pool"]

# Of a name: those who make it may give it any number.
_MOST_ADDRESSES: Final = 8

_RESETS: Final = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)

_Key = tuple[str, int, Protocol, EndpointUse]

Connect = Callable[["Pool", EndpointState, str, str], Awaitable[UpstreamConnection]]
"""Makes a connection for a pool: to an endpoint, at this numeric address, with this TLS server name.

The connection calls `Pool.opened`, `Pool.returned` and `Pool.lost`. `OSError` and `ValueError` say why there
is none.
"""


class Pool:
    """All endpoints in use, and the connections to them that could carry another request.

    Args:
        settings: Of the proxy.
        timeouts: Its time-outs.
        deadlines: Its clock.
        counters: What to count in.
        connect: Makes connections, in whichever protocol.
    """

    def __init__(
        self,
        settings: ProxySettings,
        timeouts: Timeouts,
        deadlines: Deadlines,
        counters: Counters,
        connect: Connect,
    ) -> None:
        self._settings = settings
        self._unsafe_reuse = timeouts.unsafe_reuse
        self._deadlines = deadlines
        self._counters = counters
        self._connect = connect
        self._draining = False
        self._endpoints: dict[_Key, EndpointState] = {}
        self._available: dict[EndpointState, list[UpstreamConnection]] = {}
        self._open: set[UpstreamConnection] = set()
        # By endpoint and server name, the connection that is being made and will have room for many.
        self._coming: dict[tuple[EndpointState, str], asyncio.Future[Exception | None]] = {}

    def now(self) -> float:
        """Of the loop's clock."""
        return self._deadlines.now()

    def endpoint(
        self,
        endpoint: Endpoint,
        protocol: Protocol,
        use: EndpointUse = PLAIN_USE,
    ) -> EndpointState:
        """The state of an endpoint; the caller becomes a user of it until `leave`.

        Who uses one otherwise has another state of it, and so no connection in common.
        """
        key = (endpoint.address, endpoint.port, protocol, use)
        state = self._endpoints.get(key)
        if state is None:
            state = self._endpoints[key] = EndpointState(*key, self._settings.max_idle_per_endpoint)
            self._available[state] = []
        state.users += 1
        return state

    def leave(self, state: EndpointState) -> None:
        """A backend no longer lists the endpoint; without users its idle connections go."""
        state.users -= 1
        if state.users <= 0:
            key = (state.address, state.port, state.protocol, state.use)
            self._endpoints.pop(key, None)
            for connection in self._available.pop(state, ()):
                connection.retire()

    def take(self, endpoint: EndpointState, server_name: str, *, repeatable: bool) -> Upstream | None:
        """A stream on a connection that stands, or ``None``.

        Args:
            endpoint: Where to.
            server_name: The TLS server name it must have been made with; empty for plain HTTP.
            repeatable: The request may be sent again if the connection turns out to be closing.
        """
        available = self._available.get(endpoint)
        if not available:
            return None
        oldest = 0.0 if repeatable else self._deadlines.recent - self._unsafe_reuse
        for index in range(len(available) - 1, -1, -1):
            connection = available[index]
            if connection.idle_since < oldest:
                return None  # all before it are older still
            if connection.server_name == server_name and (stream := connection.lend()) is not None:
                if not connection.has_room:
                    del available[index]
                return stream
        return None

    def returned(self, connection: UpstreamConnection) -> None:
        """Called by a connection that had no room, and has room for another stream now."""
        endpoint = connection.endpoint
        available = self._available.get(endpoint)
        if available is None or self._draining:
            connection.retire()
            return
        available.append(connection)
        if len(available) > endpoint.most_idle:
            available.pop(0).retire()

    async def connect(self, endpoint: EndpointState, server_name: str, timeout: float) -> Upstream:  # noqa: ASYNC109
        """A stream on a new connection.

        Raises:
            ConnectFailed: None could be made in time, or the address may not be connected to.
        """
        # ASYNC109: a parameter, because the bound is the route's, and spans look-up, connection and TLS.
        try:
            async with asyncio.timeout(timeout):
                if endpoint.protocol.is_http2:
                    if (shared := await self._shared(endpoint, server_name)) is not None:
                        return shared
                    connection = await self._connect_for_many(endpoint, server_name)
                else:
                    connection = await self._connected(endpoint, server_name)
        except (OSError, ValueError) as exc:
            self._counters.upstream_failed += 1
            endpoint.failed(self._deadlines.now())
            raise _connect_failed(exc, endpoint.protocol) from exc
        except ConnectFailed:
            self._counters.upstream_failed += 1
            raise
        endpoint.worked()
        stream = connection.lend()
        if stream is None:
            raise ConnectFailed(Termination.UPSTREAM_REFUSED, "connection closed at once")
        if connection.has_room:
            self.returned(connection)
        return stream

    def statistics(self) -> dict[str, EndpointStatistics]:
        """By ``address:port``, sorted; what two protocols of one endpoint did is one count."""
        counts: dict[str, EndpointStatistics] = {}
        for state in sorted(self._endpoints.values(), key=str):
            before = counts.get(str(state), EndpointStatistics())
            counts[str(state)] = EndpointStatistics(
                requests=before.requests + state.requests,
                failures=before.failures + state.failures,
                active=before.active + state.active,
                ejections=before.ejections + (0 if state.health is None else state.health.ejections),
                health=worse(before.health, state.state),
            )
        return counts

    def drain(self) -> None:
        """Keep no connection that has nothing to do, now and from now on."""
        self._draining = True
        for available in self._available.values():
            for connection in available:
                connection.retire()
            available.clear()

    def opened(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is open."""
        self._open.add(connection)
        self._counters.upstream_opened += 1
        self._counters.upstream_open += 1

    def lost(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is gone."""
        self._open.discard(connection)
        self._counters.upstream_open -= 1
        available = self._available.get(connection.endpoint, ())
        if connection in available:
            self._available[connection.endpoint].remove(connection)

    def abort_all(self) -> None:
        """Cut every connection, whatever it does."""
        for connection in list(self._open):
            connection.abort()

    async def _connected(self, endpoint: EndpointState, server_name: str) -> UpstreamConnection:
        """A new connection, to whichever of the addresses of the endpoint takes it."""
        addresses = await self._addresses(endpoint)
        if len(addresses) == 1:
            return await self._connect(self, endpoint, addresses[0], server_name)
        return await self._race(endpoint, addresses, server_name)

    async def _shared(self, endpoint: EndpointState, server_name: str) -> Upstream | None:
        """A stream of a connection that others are waiting for, once it is there; ``None``: none is coming."""
        while (coming := self._coming.get((endpoint, server_name))) is not None:
            if (fault := await asyncio.shield(coming)) is not None:
                raise fault
            if (stream := self.take(endpoint, server_name, repeatable=True)) is not None:
                return stream
        return None

    async def _connect_for_many(self, endpoint: EndpointState, server_name: str) -> UpstreamConnection:
        """A new connection, which those who ask meanwhile wait for: together they would make one each."""
        key = (endpoint, server_name)
        coming = self._coming[key] = asyncio.get_running_loop().create_future()
        fault: Exception | None = None
        try:
            return await self._connected(endpoint, server_name)
        except (OSError, ValueError, ConnectFailed) as exc:
            fault = exc
            raise
        finally:
            del self._coming[key]
            # After whoever made it has its stream, and the pool the rest.
            asyncio.get_running_loop().call_soon(coming.set_result, fault)

    async def _race(
        self, endpoint: EndpointState, addresses: list[str], server_name: str
    ) -> UpstreamConnection:
        """A connection to one of the addresses of a name, whichever takes it first."""

        async def attempt(address: str) -> UpstreamConnection:
            return await self._connect(self, endpoint, address, server_name)

        attempts = [partial(attempt, address) for address in alternated(addresses)[:_MOST_ADDRESSES]]
        return await first_of(attempts, lambda connection: connection.retire())

    async def _addresses(self, endpoint: EndpointState) -> list[str]:
        judge = self._settings.destination_fault
        try:
            return await permitted_addresses(endpoint.address, endpoint.port, judge)
        except DestinationRefused as exc:
            raise ConnectFailed(Termination.UPSTREAM_REFUSED, str(exc)) from None


def _connect_failed(exc: OSError | ValueError, protocol: Protocol) -> ConnectFailed:
    """The reason why no connection could be made, in fixed words."""
    if isinstance(exc, TimeoutError):
        return ConnectFailed(Termination.UPSTREAM_CONNECT_TIMEOUT)
    if isinstance(exc, ssl.SSLError):
        # OpenSSL gives one; who raises the exception otherwise does not.
        reason: str = getattr(exc, "reason", None) or ""
        return ConnectFailed(Termination.UPSTREAM_TLS, reason.replace("_", " ").lower())
    if isinstance(exc, socket.gaierror):
        return ConnectFailed(Termination.UPSTREAM_REFUSED, "the name has no address")
    if isinstance(exc, ValueError):
        return ConnectFailed(Termination.UPSTREAM_REFUSED, "the address cannot be connected to")
    number = exc.errno
    # A connection that is made and then reset was refused by the TLS of the endpoint, or is not TLS at all.
    in_tls = protocol.is_secure and (number is None or number in _RESETS)
    detail = os.strerror(number).lower() if number else "connection closed in the handshake" if in_tls else ""
    return ConnectFailed(Termination.UPSTREAM_TLS if in_tls else Termination.UPSTREAM_REFUSED, detail)
