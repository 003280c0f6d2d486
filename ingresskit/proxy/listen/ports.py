"""Listeners for further ports, whose connections are all passed on. They follow the table that is live.

A port that comes is listened at without a restart; one that goes takes no more connections, and those that
stand are not touched. The sockets are shared (``SO_REUSEPORT``), so that a new version or another worker of the
same user can listen before the old one is gone.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.proxy.listen.proxy_protocol import BadProxyHeader, read_proxy_header
from ingresskit.proxy.message.forwarded import parse_address

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.listen.passing import TakeStream
    from ingresskit.proxy.message.forwarded import Address
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.render.inprocess import RoutingTable, StreamTarget

__all__ = ["PortListeners"]

_logger = fact_logger(__name__)

_BACKLOG: Final = 1024
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_PAUSE: Final = 0.2
_FIRST_RETRY: Final = 0.5
_LONGEST_RETRY: Final = 10.0


class PortListeners:
    """The listeners of one proxy for further ports.

    Args:
        settings: Of the proxy.
        clients: The connections of clients.
        table: Gives the table that is live.
        take: Gets the connections.
        start: Runs a task that ends with the proxy.
    """

    def __init__(
        self,
        settings: ProxySettings,
        clients: Clients,
        table: Callable[[], RoutingTable],
        take: TakeStream,
        start: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._table = table
        self._take = take
        self._start = start
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._arriving: dict[asyncio.Task[None], None] = {}  # those that have taken longest first

    def follow(self, ports: Mapping[int, StreamTarget]) -> None:
        """Listen at *ports*, and at no others."""
        for port in [port for port in self._tasks if port not in ports]:
            self._tasks.pop(port).cancel()
        for port in ports:
            if port not in self._tasks:
                self._tasks[port] = self._start(self._serve(port))

    async def close(self) -> None:
        """Take no more connections; those that stand are not touched."""
        tasks = [*self._tasks.values(), *self._arriving]
        self._tasks = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, port: int) -> None:
        bound = await self._bound(port)
        try:
            await self._accept(bound, port)
        finally:
            bound.close()

    async def _bound(self, port: int) -> socket.socket:
        """A socket at *port*; tried until there is one."""
        wait = _FIRST_RETRY
        while True:
            try:
                return _bind(self._settings.ports_address, port)
            except OSError as exc:
                if wait == _FIRST_RETRY:
                    reason = exc.strerror or str(exc)
                    _logger.warning("cannot listen at a further port", extra={"port": port, "reason": reason})
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_RETRY)

    async def _accept(self, bound: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, remote = await loop.sock_accept(bound)
            except OSError as exc:
                await asyncio.sleep(_ACCEPT_PAUSE if exc.errno in _EXHAUSTED else 0)
                continue
            target = self._table().ports.get(port)
            if target is None:
                connection.close()
                continue
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = parse_address(str(remote[0]))
            if not target.route.accepts_proxy:
                self._take(connection, client, target, "")
                continue
            task = loop.create_task(self._arrive(connection, client, target))
            self._arriving[task] = None
            task.add_done_callback(lambda task: self._arriving.pop(task, None))
            if len(self._arriving) > self._clients.max_handshakes:
                oldest = next(iter(self._arriving))
                oldest.cancel()
                await asyncio.wait([oldest])
                self._arriving.pop(oldest, None)

    async def _arrive(self, connection: socket.socket, peer: Address, target: StreamTarget) -> None:
        """Read the PROXY header that the entry asks for; it is believed of trusted proxies."""
        taken = False
        try:
            async with asyncio.timeout(self._settings.header_timeout.total_seconds()):
                proxied = await read_proxy_header(connection)
            trusted = any(peer in network for network in self._settings.trusted_proxies)
            taken = True
            self._take(connection, proxied[0] if proxied is not None and trusted else peer, target, "")
        except (BadProxyHeader, OSError):
            return
        finally:
            if not taken:
                connection.close()


def _bind(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        bound = socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True, reuse_port=True
        )
    else:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        bound = socket.create_server((address, port), family=family, backlog=_BACKLOG, reuse_port=True)
    bound.setblocking(False)
    return bound
