"""The proxy as its owner sees it."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from ingresskit.errors import ConfigurationError
from ingresskit.proxy.limits.shared import SharedLimits
from ingresskit.proxy.listen.front_listener import FrontListener, open_front_listener
from ingresskit.proxy.listen.listener import Listener, bind_listener, open_listener
from ingresskit.proxy.listen.passing import PassedNames
from ingresskit.proxy.listen.tls import CertificateContexts
from ingresskit.proxy.settings import ProxySettings
from ingresskit.proxy.statistics import Counters, Statistics
from ingresskit.proxy.wiring import Parts
from ingresskit.render.inprocess import RoutingTable

__all__ = ["Proxy"]

# Between the loop's taking of a connection from the queue and its protocol.
_ARRIVAL_SECONDS = 0.05


class Proxy:
    """A reverse proxy for HTTP/1.1 and HTTP/2 that serves a routing table.

    Use it from one event loop (asyncio's or uvloop): the first call of `listen` binds it to the running
    one. `swap` and `statistics` may be called before that, and on that loop's thread after it.

    ```python
    async with Proxy() as proxy:
        proxy.swap(renderer.render(graph))
        listener = await proxy.listen("127.0.0.1", 8080)
        print(listener.address)
        await proxy.run()
    ```

    Memory: an idle client connection takes 3.5 KB and twice the length of its last request head, of
    which 2 KB are kept at most; with TLS 27 KB (measured in November 2026).
    """

    def __init__(self, settings: ProxySettings | None = None, *, shared: SharedLimits | None = None) -> None:
        """Make a proxy; *shared* are the limits that it has together with other processes."""
        self.settings: ProxySettings = settings or ProxySettings()
        self._shared = shared
        self._table = RoutingTable()
        self._counters = Counters()
        self._parts: Parts | None = None
        self._contexts: CertificateContexts | None = None
        self._listeners: list[Listener] = []
        self._fronts: list[FrontListener] = []
        self._fading: tuple[RoutingTable, ...] = ()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def table(self) -> RoutingTable:
        """What is served now."""
        return self._table

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those that take connections, in the order they were opened."""
        return tuple(self._listeners)

    def swap(self, table: RoutingTable, fading: tuple[RoutingTable, ...] = ()) -> None:
        """Serve *table* from the next request on.

        No connection is touched, and requests under way keep what they began with.

        Args:
            table: What is served.
            fading: Older tables, the newest first, for routes that a proxy in front may still choose; see
                `listen_front`. Backends are those of *table* where it has them.
        """
        self._table, self._fading = table, fading
        if self._parts is not None:
            self._parts.admission.swap(table, fading)
            self._parts.ports.follow(table.ports)
        if self._contexts is not None:
            self._contexts.forget_old()

    async def listen(self, host: str, port: int, *, tls: bool = False) -> Listener:
        """Take connections at an address.

        Args:
            host: A numeric address or a name; empty is every address.
            port: 0 takes a free one; see `Listener.address`.
            tls: Whether clients speak TLS there. Certificates are those of the table, by server name.

        Raises:
            ConfigurationError: The proxy is draining or closed.
            OSError: The address cannot be bound to.
        """
        self._check_open()
        return await self.listen_on(await bind_listener(host, port), tls=tls)

    async def listen_on(self, bound: socket.socket, *, tls: bool = False) -> Listener:
        """Take connections at a socket that is bound already, such as one that several processes share.

        Args:
            bound: A TCP socket, not blocking. It belongs to the proxy from now on, also when this fails.
            tls: As in `listen`.

        Raises:
            ConfigurationError: The proxy is draining or closed.
            OSError: The socket cannot listen.
        """
        try:
            parts = self._check_open()
        except ConfigurationError:
            bound.close()
            raise
        context = pass_on = None
        if tls:
            pass_on = PassedNames(lambda: parts.admission.table, parts.streams.take)
            if self._contexts is None:
                self._contexts = CertificateContexts(lambda: self._table, http2=parts.http2)
            context = self._contexts.for_connection
        make_protocol = parts.tls_client if tls else parts.plain_client
        listener = await open_listener(self.settings, parts.clients, make_protocol, bound, context, pass_on)
        self._listeners.append(listener)
        if tls and parts.admission.filters.https_listener_port is None:
            parts.admission.filters.https_listener_port = listener.address[1]
        return listener

    async def leave(self, listener: Listener) -> None:
        """Take no more connections at *listener*, which another process serves on; handshakes end first."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            await listener.close(gently=True)

    async def listen_front(self, path: Path, *, https_port: int | None = None) -> FrontListener:
        """Take the requests that a proxy program in front forwards, with the route it chose.

        The program is believed about the client and the route, so the socket gets mode 0600; the folder of
        *path* should be open to nobody else either.

        Args:
            path: Where to make a Unix socket; a socket that is there makes way.
            https_port: The port of the program's first TLS listener, for redirects; ``None``: it has none.

        Raises:
            ConfigurationError: The proxy is draining or closed.
            OSError: The socket cannot be made.
        """
        parts = self._check_open()
        if parts.admission.filters.https_listener_port is None:
            parts.admission.filters.https_listener_port = https_port
        listener = await open_front_listener(parts.front_client, path)
        self._fronts.append(listener)
        return listener

    async def run(self) -> None:
        """Serve until cancelled, then close. `listen` may be called before and meanwhile."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def drain(self, grace: timedelta, *, linger: timedelta = timedelta(0)) -> None:
        """Stop politely: no new connections, idle ones closed, requests under way finished.

        Returns when all connections are gone. What is left at the end of *grace*, tunnels among it,
        is cut. The proxy cannot listen again.

        Args:
            grace: How long requests under way may take.
            linger: How long an idle connection may bring one more request, whose response ends it. Without
                this time a request that is on its way when its connection is closed is lost.
        """
        parts = self._bind()
        if linger:
            # Connections that were taken from the queue already are served.
            await self._stop_listening(gently=True)
            await asyncio.sleep(_ARRIVAL_SECONDS)
            parts.runtime.draining = True
            await self._wait_emptied(min(linger, grace))
        parts.runtime.draining = parts.runtime.refusing = True
        await self._stop_listening()
        for client in list(parts.clients.connections):
            client.drain()
        parts.pool.drain()
        await self._wait_emptied(grace)
        await self.close()

    async def _wait_emptied(self, longest: timedelta) -> None:
        clients = self._bind().clients
        if clients.connections:
            try:
                async with asyncio.timeout(longest.total_seconds()):
                    await clients.emptied.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Cut every connection and stop. Does nothing the second time."""
        parts = self._parts
        if parts is None or self._closed:
            self._closed = True
            return
        self._closed = True
        parts.runtime.draining = parts.runtime.refusing = parts.runtime.closing = True
        parts.pool.drain()
        await self._stop_listening()
        for client in list(parts.clients.connections):
            client.abort()
        parts.pool.abort_all()
        await parts.runtime.cancel_tasks()
        parts.subrequests.close()
        parts.admission.filters.verifier.close()
        parts.pool.abort_all()
        if parts.clients.connections:
            async with asyncio.timeout(5):
                await parts.clients.emptied.wait()
        parts.runtime.deadlines.close()
        parts.clients.trimming.close()

    def statistics(self) -> Statistics:
        """Counts of what the proxy did so far."""
        parts = self._parts
        if parts is None:
            return self._counters.freeze({})
        return self._counters.freeze(parts.balancer.statistics(), parts.pool.statistics())

    async def _stop_listening(self, *, gently: bool = False) -> None:
        listeners: list[Listener | FrontListener] = [*self._listeners, *self._fronts]
        self._listeners, self._fronts = [], []
        if self._parts is not None:
            await self._parts.ports.close()
        for listener in listeners:
            if gently and isinstance(listener, Listener):
                await listener.close(gently=True)
            else:
                await listener.close()

    def _check_open(self) -> Parts:
        parts = self._bind()
        if self._closed or parts.runtime.draining:
            raise ConfigurationError("a proxy that was drained or closed does not listen again")
        return parts

    def _bind(self) -> Parts:
        if self._parts is None:
            loop = asyncio.get_running_loop()
            self._parts = Parts(self.settings, self._counters, self._table, loop, self._shared)
            self._parts.admission.swap(self._table, self._fading)
            self._parts.ports.follow(self._table.ports)
        return self._parts
