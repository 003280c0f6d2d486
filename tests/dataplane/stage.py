"""A running proxy, endpoints that do as they are told behind it, and clients that speak bytes before it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from ingresskit.models import KubeObject, Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.loopback import Address
from ingresskit.testing.planes import Plane
from ingresskit.translate import DestinationPolicy, TranslateOptions, translate
from tests.unit.proxy.conftest import LONG, FakeEndpoint, Handler, Wire

HOST = "web.example"
OPTIONS = TranslateOptions(
    destinations=DestinationPolicy(allow=(ipaddress.ip_network("127.0.0.0/8"),)),
)


class Stage:
    """Starts what a test needs around *plane*, and ends all of it but the plane."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def endpoint(
        self,
        answer: bytes | list[bytes] | Handler | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        read_bodies: bool = True,
        take_trailers: bool = False,
    ) -> FakeEndpoint:
        """An endpoint on a port of its own."""
        fake = FakeEndpoint(read_bodies=read_bodies, take_trailers=take_trailers)
        if answer is not None:
            fake.answer = answer
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=tls)
        fake.port = server.sockets[0].getsockname()[1]

        async def stop() -> None:
            server.close()
            for task in list(fake.tasks):
                task.cancel()
            await asyncio.gather(*fake.tasks, return_exceptions=True)

        self._stack.push_async_callback(stop)
        return fake

    async def serve(
        self,
        *endpoints: FakeEndpoint | int,
        host: str = HOST,
        path: str = "/",
        annotations: Mapping[str, str] | None = None,
        more: Sequence[KubeObject] = (),
        app_protocol: str | None = None,
    ) -> None:
        """Have the proxy send *path* of *host* to *endpoints* (or ports of this machine), and nothing else.

        Args:
            annotations: Of the Ingress; native names need no prefix.
            more: Objects beside these.
            app_protocol: What the endpoints speak.
        """
        ports = [item if isinstance(item, int) else item.port for item in endpoints]
        await self.serve_objects(
            ingress("web", {host: {path: "web"}}, annotations={"tls-redirect": "false", **(annotations or {})}),
            service("web", app_protocol=app_protocol),
            *slices("web", ports),
            *more,
        )

    async def serve_objects(self, *objects: KubeObject) -> None:
        """Have the proxy serve what a cluster with *objects* and our class says."""
        await self.plane.serve(translate(Snapshot.of([ingress_class(), *objects]), OPTIONS).graph)

    async def connect(
        self, *, tls: ssl.SSLContext | None = None, name: str | None = HOST, limit: int = 1 << 16
    ) -> Wire:
        """A client connection.

        Args:
            tls: Speak TLS.
            name: The server name; ``None`` sends none.
            limit: How much is buffered here.
        """
        address = self.plane.http if tls is None else self.plane.https
        assert address is not None
        return await self.connect_to(address, tls=tls, name=name, limit=limit)

    async def connect_to(
        self,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        limit: int = 1 << 16,
    ) -> Wire:
        """A connection to any address, as `connect`."""
        reader, writer = await asyncio.open_connection(
            *address, ssl=tls, server_hostname=(name or "") if tls else None, limit=limit
        )
        wire = Wire(reader, writer)
        self._stack.push_async_callback(wire.close)
        return wire

    async def closed_port(self) -> int:
        """A port that refuses connections."""
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port


def slices(name: str, ports: Sequence[int], *, namespace: str = "default") -> list[KubeObject]:
    """Endpoints on these ports of this machine: the ports of a slice are the same for all in it."""
    return [
        endpoint_slice(name, "127.0.0.1", ports=port, name=f"{name}-{number}", namespace=namespace)
        for number, port in enumerate(ports)
    ]


def trusting() -> ssl.SSLContext:
    """A client that trusts everybody and speaks no HTTP/2."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


__all__ = ["HOST", "LONG", "OPTIONS", "Stage", "slices", "trusting"]
