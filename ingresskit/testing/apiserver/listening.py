"""The socket of a server: open, or refusing, always on the same port."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import anyio
import anyio.abc
from anyio.streams.tls import TLSAttribute, TLSStream

from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.hub import Hub

__all__ = ["Listening", "Serve", "server_context"]

_HOST = "127.0.0.1"

Serve = Callable[[anyio.abc.ByteStream, str, socket.socket], Awaitable[None]]
"""Serves one connection: its octets, the user its certificate names, and the socket below."""


def server_context(authority: Authority) -> ssl.SSLContext:
    """What a server of *authority* shows its clients, whose certificates it takes but does not demand."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.server()
    # The ssl module reads keys from files only.
    with tempfile.TemporaryDirectory(prefix="ingresskit-") as folder:
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Listening:
    """Accepts connections when it is told to.

    Args:
        context: For TLS; ``None`` for plain connections. May be replaced at any time.

    Attributes:
        port: The port; 0 before the first start.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.port: int = 0
        self._open = True
        self._scope: anyio.CancelScope | None = None
        self._reopen: anyio.Event | None = None
        self._applied = threading.Event()

    def accept(self, wanted: bool, hub: Hub) -> None:
        """Accept connections, or refuse them; outside the thread of the loop, returns when it is so."""
        self._applied.clear()

        def change() -> None:
            if wanted == self._open:
                self._applied.set()
                return
            self._open = wanted
            if wanted and self._reopen is not None:
                self._reopen.set()
            elif not wanted and self._scope is not None:
                self._scope.cancel()

        hub.call(change)
        if not hub.is_here():
            self._applied.wait(10)

    async def run(self, serve: Serve, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Accept and serve until cancelled; started once the port is open."""
        self._open = True
        async with anyio.create_task_group() as connections:
            started = False
            while True:
                listener = await anyio.create_tcp_listener(local_host=_HOST, local_port=self.port)
                async with listener:
                    self.port = int(listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 - not Django's
                    if not started:
                        task_status.started()
                        started = True
                    self._applied.set()
                    with anyio.CancelScope() as self._scope:
                        await listener.serve(self._handler(serve), connections)
                await self._refuse()

    async def _refuse(self) -> None:
        """Hold the port without listening on it, so that it stays ours and connecting is refused."""
        with contextlib.closing(socket.socket()) as placeholder:
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            placeholder.bind((_HOST, self.port))
            self._reopen = anyio.Event()
            self._applied.set()
            if not self._open:
                await self._reopen.wait()

    def _handler(self, serve: Serve) -> Callable[[anyio.abc.SocketStream], Awaitable[None]]:
        async def handle(stream: anyio.abc.SocketStream) -> None:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - not Django's
            context = self.context
            if context is None:
                await serve(stream, "", raw)
                return
            try:
                secured = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=context, standard_compatible=False
                )
            except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                await anyio.aclose_forcefully(stream)
                return
            await serve(secured, _certificate_user(secured), raw)

        return handle


def _certificate_user(stream: TLSStream) -> str:
    ssl_object = stream.extra(TLSAttribute.ssl_object)  # noqa: S610 - not Django's
    certificate = ssl_object.getpeercert() or {}
    subject = certificate.get("subject", ())
    # The stubs of ssl allow more shapes than a subject has: ((("commonName", "shop"),), …).
    for part in cast(tuple[tuple[tuple[str, str], ...], ...], subject):
        for name, value in part:
            if name == "commonName":
                return value
    return ""
