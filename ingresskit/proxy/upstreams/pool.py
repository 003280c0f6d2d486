"""Connections to endpoints: made, kept while idle, taken again.

A connection comes back here only when both messages of its exchange are complete and nothing else
was received (`ingresskit.proxy.exchange.exchange` decides that). The last one returned is taken first: it is
the least likely one to be closed by its endpoint at this moment.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Endpoint, Protocol, Termination
from ingresskit.proxy.h1.upstream import UpstreamConnection
from ingresskit.proxy.statistics import EndpointStatistics
from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_address

if TYPE_CHECKING:
    from ingresskit.proxy.plane import Plane
    from ingresskit.proxy.upstreams.troubles import Trouble

__all__ = ["ConnectFailed", "EndpointState", "Pool"]

# After a failed connection an endpoint is left alone for a while, if there is another one: long
# enough to matter to clients, short enough not to matter to a pod that comes back.
_FIRST_BACK_OFF: Final = 2.0
_LONGEST_BACK_OFF: Final = 10.0
_RESETS: Final = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)


class ConnectFailed(Exception):
    """Raised when no connection to an endpoint could be made. Nothing was sent.

    Attributes:
        termination: Why, in a word.
        detail: What exactly, in fixed words or those of the operating system; may be empty.
    """

    def __init__(self, termination: Termination, detail: str = "") -> None:
        self.termination = termination
        self.detail = detail
        super().__init__(detail or str(termination))


class EndpointState:
    """What is known of one endpoint, whichever backends it belongs to.

    Attributes:
        active: Requests under way.
        requests: Attempts to send it a request.
        failures: Those of them that failed.
        unreached: Connections that could not be made since the last one that could.
        users: Backends in use that list it; 0 when it is gone from the table.
        retry_at: Of the loop's clock; until then others are preferred. 0 when it is well.
        trouble: What was logged about it; ``None``: it never failed.
    """

    __slots__ = (
        "active",
        "address",
        "failures",
        "idle",
        "port",
        "protocol",
        "requests",
        "retry_at",
        "trouble",
        "unreached",
        "users",
    )

    def __init__(self, address: str, port: int, protocol: Protocol) -> None:
        self.address: str = address
        self.port: int = port
        self.protocol: Protocol = protocol
        self.idle: list[UpstreamConnection] = []
        self.active: int = 0
        self.users: int = 0
        self.requests: int = 0
        self.failures: int = 0
        self.unreached: int = 0
        self.retry_at: float = 0.0
        self.trouble: Trouble | None = None

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def failed(self, now: float) -> None:
        """A connection could not be made."""
        self.retry_at = now + min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** min(self.unreached, 8))
        self.unreached += 1

    def probed(self, now: float) -> None:
        """The back-off is over and one request tries the endpoint: others go elsewhere until it knows."""
        self.retry_at = now + _LONGEST_BACK_OFF

    def worked(self) -> None:
        """A connection was made, or a response received."""
        self.unreached = 0
        self.retry_at = 0.0


class Pool:
    """All endpoints in use and their idle connections."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._endpoints: dict[tuple[str, int, Protocol], EndpointState] = {}
        self._context: ssl.SSLContext | None = None
        self._open: set[UpstreamConnection] = set()

    def endpoint(self, endpoint: Endpoint, protocol: Protocol) -> EndpointState:
        """The state of an endpoint; the caller becomes a user of it until `leave`."""
        key = (endpoint.address, endpoint.port, protocol)
        state = self._endpoints.get(key)
        if state is None:
            state = self._endpoints[key] = EndpointState(*key)
        state.users += 1
        return state

    def leave(self, state: EndpointState) -> None:
        """A backend does not list the endpoint any more; without users its idle connections go."""
        state.users -= 1
        if state.users <= 0:
            self._endpoints.pop((state.address, state.port, state.protocol), None)
            for connection in state.idle:
                connection.close()
            state.idle.clear()

    def take(self, state: EndpointState, server_name: str, *, repeatable: bool) -> UpstreamConnection | None:
        """An idle connection, or ``None``.

        Args:
            state: Of which endpoint.
            server_name: The TLS server name it must have been made with; empty for plain HTTP.
            repeatable: The request may be sent again if the connection turns out to be closing.
        """
        idle = state.idle
        if not idle:
            return None
        oldest = 0.0 if repeatable else self._plane.deadlines.recent - self._plane.unsafe_reuse
        connection = idle[-1]  # the common case without a loop
        if (
            connection.idle_since >= oldest
            and connection.server_name == server_name
            and not connection.transport.is_closing()
        ):
            return idle.pop()
        for index in range(len(idle) - 1, -1, -1):
            connection = idle[index]
            if connection.idle_since < oldest:
                return None  # all before it are older still
            if connection.server_name == server_name and not connection.transport.is_closing():
                del idle[index]
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose exchange is over and complete."""
        state = connection.endpoint
        plane = self._plane
        if plane.draining or not state.users or connection.transport.is_closing():
            connection.close()
            return
        now = plane.deadlines.recent
        connection.rest(now, now + plane.upstream_idle_timeout)
        state.idle.append(connection)
        if len(state.idle) > plane.settings.max_idle_per_endpoint:
            state.idle.pop(0).close()

    async def connect(self, state: EndpointState, server_name: str, timeout: float) -> UpstreamConnection:  # noqa: ASYNC109
        """A new connection.

        Raises:
            ConnectFailed: None could be made in time, or the address may not be connected to.
        """
        # ASYNC109: a parameter, because the bound is the route's, and spans look-up, connection and TLS.
        plane = self._plane
        try:
            async with asyncio.timeout(timeout):
                address = await self._address(state)
                _, connection = await plane.loop.create_connection(
                    lambda: UpstreamConnection(plane, state, server_name),
                    address,
                    state.port,
                    ssl=self._tls_context() if state.protocol is Protocol.HTTPS else None,
                    server_hostname=(server_name or "") if state.protocol is Protocol.HTTPS else None,
                )
        except (OSError, ValueError) as exc:
            plane.counters.upstream_failed += 1
            state.failed(plane.deadlines.now())
            raise _connect_failed(exc, state.protocol) from exc
        except ConnectFailed:
            plane.counters.upstream_failed += 1
            raise
        state.worked()
        return connection

    def statistics(self) -> dict[str, EndpointStatistics]:
        """By ``address:port``, sorted; what two protocols of one endpoint did is one count."""
        counts: dict[str, EndpointStatistics] = {}
        for state in sorted(self._endpoints.values(), key=str):
            before = counts.get(str(state), EndpointStatistics())
            counts[str(state)] = EndpointStatistics(
                requests=before.requests + state.requests,
                failures=before.failures + state.failures,
                active=before.active + state.active,
            )
        return counts

    def close_idle(self) -> None:
        """Close all idle connections."""
        for state in self._endpoints.values():
            for connection in state.idle:
                connection.close()
            state.idle.clear()

    def opened(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is open."""
        self._open.add(connection)
        self._plane.counters.upstream_opened += 1
        self._plane.counters.upstream_open += 1

    def lost(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is gone."""
        self._open.discard(connection)
        self._plane.counters.upstream_open -= 1
        if connection in connection.endpoint.idle:
            connection.endpoint.idle.remove(connection)

    def abort_all(self) -> None:
        """Cut every connection, whatever it does."""
        for connection in list(self._open):
            connection.abort()

    async def _address(self, state: EndpointState) -> str:
        try:
            return await permitted_address(state.address, state.port, self._plane.settings.destination_fault)
        except DestinationRefused as exc:
            raise ConnectFailed(Termination.UPSTREAM_REFUSED, str(exc)) from None

    def _tls_context(self) -> ssl.SSLContext:
        """For HTTPS endpoints. Pods have certificates nobody signed: TLS to them keeps secrets, no more.

        Not verified by default, as in every ingress controller.
        """
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context


def _connect_failed(exc: OSError | ValueError, protocol: Protocol) -> ConnectFailed:
    """The reason why no connection could be made, in fixed words."""
    if isinstance(exc, TimeoutError):
        return ConnectFailed(Termination.UPSTREAM_CONNECT_TIMEOUT)
    if isinstance(exc, ssl.SSLError):
        return ConnectFailed(Termination.UPSTREAM_TLS, (exc.reason or "").replace("_", " ").lower())
    if isinstance(exc, socket.gaierror):
        return ConnectFailed(Termination.UPSTREAM_REFUSED, "the name has no address")
    if isinstance(exc, ValueError):
        return ConnectFailed(Termination.UPSTREAM_REFUSED, "the address cannot be connected to")
    number = exc.errno
    # A connection that is made and then reset was refused by the TLS of the endpoint, or is not TLS at all.
    in_tls = protocol is Protocol.HTTPS and (number is None or number in _RESETS)
    detail = os.strerror(number).lower() if number else "connection closed in the handshake" if in_tls else ""
    return ConnectFailed(Termination.UPSTREAM_TLS if in_tls else Termination.UPSTREAM_REFUSED, detail)
