"""Passes connections on: chooses an endpoint, connects to it, and lets bytes pass both ways.

A connection has one endpoint for as long as it lasts. Another endpoint is tried only while none was reached:
no octet of the client was read then. What the table says later touches no connection that stands.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.graph import Close, Termination
from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.exchange.tunnel import Tunnel
from ingresskit.proxy.limits.crowd import owner_of
from ingresskit.proxy.message.forwarded import parse_address
from ingresskit.proxy.message.proxy_line import proxy_line
from ingresskit.proxy.repeated import Repeated
from ingresskit.proxy.streams.ends import StreamEnd
from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.limits.crowd import Owner
    from ingresskit.proxy.message.forwarded import Address
    from ingresskit.proxy.upstreams.balance import BackendState, Balancer
    from ingresskit.render.inprocess import RoutingTable, StreamTarget

__all__ = ["Streams"]

_logger = fact_logger(__name__)

# nginx's numbers for how a stream ended, for the access log.
_PASSED, _DENIED, _UNREACHABLE, _CLOSED = 200, 403, 502, 503


class _NoFields:
    """A connection as the balancer sees requests: it says nothing."""

    def field(self, name: bytes) -> bytes | None:
        """No field."""
        del name
        return None


_SILENT: Final = _NoFields()


class Streams:
    """The connections that one proxy passes on.

    Args:
        runtime: Of the proxy.
        clients: The connections of clients, these among them.
        balancer: Which endpoint takes a connection.
        table: Gives the table that is live.
    """

    def __init__(
        self, runtime: Runtime, clients: Clients, balancer: Balancer, table: Callable[[], RoutingTable]
    ) -> None:
        self._runtime = runtime
        self._clients = clients
        self._balancer = balancer
        self._table = table
        self._troubles: dict[str, Repeated] = {}

    def take(self, connection: socket.socket, client: Address, target: StreamTarget, name: str) -> None:
        """Pass a connection on, or close it; it belongs to this from now on.

        Args:
            connection: Not blocking; nothing was read from it.
            client: The address of the client.
            target: What is done with it.
            name: The server name that the client asked for, for the log.
        """
        passed = _Passed(self, connection, client, target, name)
        self._runtime.start(passed.run())

    async def connect(
        self, passed: _Passed, action_state: BackendState, make_end: Callable[[], StreamEnd]
    ) -> tuple[EndpointState, StreamEnd] | None:
        """A connection to an endpoint; ``None``: none could be made."""
        runtime, target = self._runtime, passed.target
        seconds = runtime.timeouts.connect if target.connect_timeout is None else target.connect_timeout
        tried: tuple[EndpointState, ...] = ()
        loop = asyncio.get_running_loop()
        while True:
            now = runtime.deadlines.now()
            endpoint = action_state.choose(str(passed.client), tried, now)
            if endpoint is None:
                return None
            tried = (*tried, endpoint)
            endpoint.requests += 1
            try:
                async with asyncio.timeout(seconds):
                    judge = runtime.settings.destination_fault
                    address = await permitted_address(endpoint.address, endpoint.port, judge)
                    _, end = await loop.create_connection(make_end, address, endpoint.port)
            except TimeoutError:
                self._failed(endpoint, action_state, target, Termination.UPSTREAM_CONNECT_TIMEOUT, "")
            except DestinationRefused as exc:
                self._failed(endpoint, action_state, target, Termination.UPSTREAM_REFUSED, str(exc))
            except (OSError, ValueError) as exc:
                number = exc.errno if isinstance(exc, OSError) else None
                detail = os.strerror(number).lower() if number and number > 0 else ""
                self._failed(endpoint, action_state, target, Termination.UPSTREAM_REFUSED, detail)
            else:
                endpoint.worked()
                return endpoint, end

    def choose_backend(self, target: StreamTarget) -> BackendState | None:
        """The backend for a connection; ``None``: none has an endpoint, or the route is closed."""
        action = target.route.action
        if isinstance(action, Close):
            return None
        return self._balancer.choose_backend(action, self._table(), _SILENT)

    def _failed(
        self,
        endpoint: EndpointState,
        state: BackendState,
        target: StreamTarget,
        termination: Termination,
        detail: str,
    ) -> None:
        counters, now = self._runtime.counters, self._runtime.deadlines.now()
        endpoint.failed(now)
        endpoint.failures += 1
        state.failures += 1
        counters.upstream_failed += 1
        counters.count_failure(termination)
        if len(self._troubles) > 1024:
            self._troubles.clear()
        repeated = self._troubles.setdefault(f"{endpoint} {termination}", Repeated())
        if not repeated.is_due(now):
            return
        facts: dict[str, object] = {"endpoint": str(endpoint), "reason": str(termination)}
        if detail:
            facts["detail"] = detail
        facts["host"] = target.host
        facts["object"] = str(target.route.origin.subject)
        if repeated.left_out:
            facts["repeated"] = repeated.left_out
            repeated.left_out = 0
        _logger.warning("endpoint failed", extra=facts)

    # For the connections.

    @property
    def runtime(self) -> Runtime:
        """Of the proxy."""
        return self._runtime

    @property
    def clients(self) -> Clients:
        """The connections of clients."""
        return self._clients


class _Passed:
    """A connection that is passed on: a `ClientConnection`.

    Attributes:
        client: The address of the client.
        target: What is done with it.
    """

    def __init__(
        self, streams: Streams, connection: socket.socket, client: Address, target: StreamTarget, name: str
    ) -> None:
        self.client: Address = client
        self.target: StreamTarget = target
        self._streams = streams
        self._connection = connection
        self._name = name
        self._owner: Owner = owner_of(client)
        self._began = streams.runtime.deadlines.now()
        self._state: BackendState | None = None
        self._endpoint: EndpointState | None = None
        self._ends: tuple[StreamEnd, StreamEnd] | None = None
        self._counted = False
        self._over = False

    @property
    def is_idle(self) -> bool:
        """Never: nobody knows what its client would lose."""
        return False

    def drain(self) -> None:
        """It goes on until the time for that is over."""

    def give_up(self, reason: str) -> None:
        """As `ClientConnection.give_up`."""
        self._streams.clients.given_up(reason)
        self.abort()

    def abort(self) -> None:
        """Cut it."""
        if self._ends is not None:
            for end in self._ends:
                end.abort()
        else:
            # Its task finds out.
            self._close_socket()

    async def run(self) -> None:
        """Pass it on; returns when bytes begin to pass, or when it is closed."""
        streams = self._streams
        clients, counters = streams.clients, streams.runtime.counters
        clients.made(self)
        if not clients.crowd.has_room(self._owner, tls=False):
            clients.refused()
            self._finish(None, 0)
            return
        counters.connections_total += 1
        clients.crowd.add(self, self._owner, tls=False)
        self._counted = True
        if not self.target.admits(self.client):
            self._finish(Termination.DENIED, _DENIED)
            return
        state = self._state = streams.choose_backend(self.target)
        if state is None:
            closed = isinstance(self.target.route.action, Close)
            self._finish(Termination.UNAVAILABLE if closed else Termination.NO_ENDPOINT, _CLOSED)
            return
        state.requests += 1
        state.active += 1
        ending: tuple[Termination, int] | None = (Termination.SHUTDOWN, _CLOSED)
        endpoint_end: StreamEnd | None = None
        try:
            found = await streams.connect(self, state, self._make_end)
            if found is None:
                ending = (Termination.UPSTREAM_REFUSED, _UNREACHABLE)
            else:
                self._endpoint, endpoint_end = found
                self._endpoint.active += 1
                ending = None if await self._join(endpoint_end) else (Termination.CLIENT_LEFT, _PASSED)
        finally:
            if ending is not None:
                if endpoint_end is not None:
                    endpoint_end.abort()
                self._finish(*ending)

    def _make_end(self) -> StreamEnd:
        runtime = self._streams.runtime
        patience = runtime.timeouts.client_write
        return StreamEnd(runtime.deadlines, runtime.settings.buffer_bytes, patience, self._recharge)

    async def _join(self, endpoint_end: StreamEnd) -> bool:
        """Let bytes pass; whether the client is still there."""
        runtime = self._streams.runtime
        if self._connection.fileno() < 0:
            return False
        try:
            header = self._header() if self.target.route.sends_proxy else b""
            _, client_end = await asyncio.get_running_loop().connect_accepted_socket(
                self._make_end, self._connection
            )
        except OSError:
            return False
        self._ends = (client_end, endpoint_end)
        if header:
            endpoint_end.write(header)
        idle = self.target.idle_timeout
        seconds = runtime.timeouts.stream_idle if idle is None else idle
        runtime.deadlines.now()
        Tunnel(runtime.deadlines, runtime.counters, seconds, self._closed).join(client_end, endpoint_end)
        return True

    def _header(self) -> bytes:
        """The PROXY header of version 1 for the endpoint. Behind a proxy, the port of a client is 0."""
        peer, own = self._connection.getpeername(), self._connection.getsockname()
        port = int(peer[1]) if parse_address(str(peer[0])) == self.client else 0
        return proxy_line(self.client, port, parse_address(str(own[0])), int(own[1]))

    def _closed(self) -> None:
        self._finish(None, _PASSED)

    def _recharge(self) -> None:
        """Account for what waits on both sides; may give this connection up, or others."""
        if self._over or self._ends is None:
            return
        size = sum(end.waiting_bytes for end in self._ends)
        self._streams.clients.memory.charge(self, self._owner, size, bounded=True)

    def _close_socket(self) -> None:
        if self._ends is None:
            self._connection.close()

    def _finish(self, termination: Termination | None, status: int) -> None:
        """Count it as over, and write the line of the access log."""
        if self._over:
            return
        self._over = True
        streams = self._streams
        clients, runtime = streams.clients, streams.runtime
        self._close_socket()
        if self._counted:
            clients.memory.charge(self, self._owner, 0, bounded=False)
            clients.crowd.discard(self, self._owner, tls=False)
        clients.lost(self)
        if self._state is not None:
            self._state.active -= 1
        if self._endpoint is not None:
            self._endpoint.active -= 1
        received, sent = (0, 0) if self._ends is None else (end.received_bytes for end in self._ends)
        runtime.counters.received_bytes += received
        runtime.counters.sent_bytes += sent
        if termination is not None:
            terminations = runtime.counters.terminations
            terminations[termination] = terminations.get(termination, 0) + 1
        log = runtime.settings.access_log
        if log is not None and status:
            log(
                AccessRecord(
                    client=str(self.client),
                    method="",
                    host=self._name,
                    path="",
                    rule_host=self.target.host,
                    status=status,
                    sent_bytes=sent,
                    duration=runtime.deadlines.now() - self._began,
                    backend=None if self._state is None else self._state.backend.key,
                    endpoint="" if self._endpoint is None else str(self._endpoint),
                    attempts=0 if self._endpoint is None else 1,
                    request_id="",
                    termination=termination,
                )
            )
