"""Sockets that clients connect to.

Plain connections are the event loop's to accept. Those that have to prove something first, a PROXY
header or a TLS handshake, are accepted here, so that they can be counted while they do: each costs
tens of kilobytes, and a client that opens thousands and says nothing is an attack on memory. When
there are too many, the one that has taken longest goes: an honest one is done in a moment.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.limits.crowd import owner_of
from ingresskit.proxy.listen.client_hello import BadClientHello
from ingresskit.proxy.listen.proxy_protocol import BadProxyHeader, read_proxy_header
from ingresskit.proxy.listen.secure import take_secure
from ingresskit.proxy.message.forwarded import Address, parse_address

if TYPE_CHECKING:
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["Listener", "MakeProtocol", "PassOn", "bind_listener", "open_listener"]

MakeProtocol = Callable[[tuple[Address, int] | None], asyncio.Protocol]
"""Makes the protocol of one accepted connection, with what a PROXY header says of it, if it has one."""

MakeContext = Callable[[socket.socket], Awaitable[ssl.SSLContext]]
"""Gives the context for the TLS handshake of a connection, of which it reads nothing."""

PassOn = Callable[[socket.socket, Address], Awaitable[bool]]
"""Takes a connection with TLS over that does not end here, of which nothing was read; whether it did."""

_BACKLOG: Final = 1024
# Out of file descriptors or memory: accepting again at once would only spin.
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_PAUSE: Final = 0.2
# For a handshake that began before the listener was closed.
_ARRIVAL_SECONDS: Final = 2.0


class Listener:
    """A socket that takes client connections.

    Attributes:
        address: What it is bound to: the numeric address and the port, with the real port where 0
            was asked for.
        tls: Whether clients speak TLS there.
    """

    def __init__(
        self,
        settings: ProxySettings,
        clients: Clients,
        make_protocol: MakeProtocol,
        bound: socket.socket,
        context: MakeContext | None,
        pass_on: PassOn | None = None,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._make_protocol = make_protocol
        self._socket = bound
        self._context = context
        self._pass_on = pass_on
        self._server: asyncio.Server | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._closing = False
        self._readable = asyncio.Event()
        self._arriving: dict[asyncio.Task[None], None] = {}  # those that have taken longest first
        name = bound.getsockname()
        self.address: tuple[str, int] = (str(name[0]), int(name[1]))
        self.tls: bool = context is not None

    async def start(self) -> None:
        """Begin to take connections."""
        loop = asyncio.get_running_loop()
        if self._settings.proxy_protocol or self.tls:
            self._socket.listen(_BACKLOG)
            self._accepting = loop.create_task(self._accept())
            return
        self._server = await loop.create_server(
            lambda: self._make_protocol(None), sock=self._socket, backlog=_BACKLOG
        )

    async def close(self, *, gently: bool = False) -> None:
        """Take no more connections; those that stand are not touched.

        Args:
            gently: Wait for those that are in a TLS handshake or have not sent their PROXY header yet, for
                two seconds at most; else they are cut.
        """
        if self._server is not None:
            self._server.close()
        if self._accepting is not None:
            # Not cancelled: a connection that was accepted just now would be lost.
            self._closing = True
            self._readable.set()
            await self._accepting
        if gently and self._arriving:
            await asyncio.wait([*self._arriving], timeout=_ARRIVAL_SECONDS)
        tasks = [*self._arriving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _accept(self) -> None:
        clients = self._clients
        loop = asyncio.get_running_loop()
        most = clients.max_handshakes
        while not self._closing:
            try:
                connection, remote = self._socket.accept()
            except BlockingIOError:
                await self._wait_readable()
                continue
            except OSError as exc:
                # Else a fault of the connection that would have been: the next one is another.
                await asyncio.sleep(_ACCEPT_PAUSE if exc.errno in _EXHAUSTED else 0)
                continue
            owner = owner_of(parse_address(str(remote[0])))
            if not clients.crowd.has_room(owner, tls=self.tls, only_look=True):
                # Now, and not after a handshake that costs more than all that is refused.
                clients.refused()
                connection.close()
                continue
            task = loop.create_task(self._arrive(connection, str(remote[0])))
            self._arriving[task] = None
            task.add_done_callback(lambda task: self._arriving.pop(task, None))
            if len(self._arriving) > most:
                oldest = next(iter(self._arriving))
                oldest.cancel()
                # Gone, before there is another one: a queue of thousands is accepted without a pause.
                await asyncio.wait([oldest])
                self._arriving.pop(oldest, None)

    async def _wait_readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._readable.clear()
        loop.add_reader(self._socket, self._readable.set)
        try:
            if not self._closing:
                await self._readable.wait()
        finally:
            loop.remove_reader(self._socket)

    async def _arrive(self, connection: socket.socket, remote: str) -> None:
        settings = self._settings
        taken = False
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            proxied: tuple[Address, int] | None = None
            if settings.proxy_protocol and self._is_trusted(parse_address(remote)):
                async with asyncio.timeout(settings.header_timeout.total_seconds()):
                    proxied = await read_proxy_header(connection)
            handshake = settings.handshake_timeout.total_seconds()
            context = None
            if self._pass_on is not None:
                client = parse_address(remote) if proxied is None else proxied[0]
                async with asyncio.timeout(handshake):
                    taken = await self._pass_on(connection, client)
                if taken:
                    return
            if self._context is not None:
                async with asyncio.timeout(handshake):
                    context = await self._context(connection)
            taken = True  # from here on the transport owns the socket, also when the handshake fails
            if context is None:
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: self._make_protocol(proxied), connection
                )
            else:
                await take_secure(lambda: self._make_protocol(proxied), connection, context, handshake)
        except (BadProxyHeader, BadClientHello, OSError):
            return  # nobody to answer: whose words these are is not known, or they are no TLS
        finally:
            if not taken:
                connection.close()

    def _is_trusted(self, peer: Address) -> bool:
        return any(peer in network for network in self._settings.trusted_proxies)


async def bind_listener(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address, not blocking.

    Args:
        host: A numeric address, or a name; empty is every address of both families, where there are both.
        port: 0 takes a free one.

    Raises:
        OSError: The address cannot be bound to.
    """
    if host:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    elif socket.has_dualstack_ipv6():
        bound = socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    else:
        bound = socket.create_server(("", port), backlog=_BACKLOG)
    bound.setblocking(False)
    return bound


async def open_listener(
    settings: ProxySettings,
    clients: Clients,
    make_protocol: MakeProtocol,
    bound: socket.socket,
    context: MakeContext | None,
    pass_on: PassOn | None = None,
) -> Listener:
    """A listener that takes connections.

    Args:
        settings: Of the proxy.
        clients: The connections that there are.
        make_protocol: Makes the protocol of each connection.
        bound: Not blocking. It belongs to the listener from now on, also when this fails.
        context: Gives the one for the next TLS handshake; ``None`` is plain.
        pass_on: Takes connections with TLS over that do not end here.
    """
    listener = Listener(settings, clients, make_protocol, bound, context, pass_on)
    try:
        await listener.start()
    except BaseException:
        bound.close()
        raise
    return listener
