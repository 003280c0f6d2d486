"""Endpoints that take connections which a proxy passes on, and clients that begin them octet by octet."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingresskit.models import KubeObject
from ingresskit.testing import ingress, make_certificate, service
from ingresskit.testing.loopback import Address
from tests.dataplane.stage import slices
from tests.unit.proxy.conftest import LONG

__all__ = ["PASSED", "TlsEndpoint", "client_hello", "open_raw", "passed_host", "records", "tls_endpoint"]

PASSED = "passed.example"


@dataclass
class TlsEndpoint:
    """An endpoint of its own certificate that sends back what it gets, with its name before it.

    Attributes:
        connections: How many it took.
        peers: The first octets of connections to a raw endpoint.
    """

    name: str
    port: int = 0
    connections: int = 0
    open: int = 0
    first: list[bytes] = field(default_factory=list[bytes])
    close: Callable[[], None] = lambda: None


@contextlib.asynccontextmanager
async def tls_endpoint(name: str, *hosts: str, raw: bool = False, port: int = 0) -> AsyncGenerator[TlsEndpoint]:
    """An endpoint. A *raw* one speaks no TLS: it sends what it gets back, and after its end ``name``."""
    found = TlsEndpoint(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        found.open += 1
        first = True
        try:
            while data := await reader.read(1 << 16):
                if first:
                    found.first.append(data)
                    if not raw:
                        data = name.encode() + b":" + data
                first = False
                writer.write(data)
                await writer.drain()
            writer.write(name.encode() if raw else b"")
            await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            found.open -= 1
            writer.close()

    context = None
    if not raw:
        certificate = make_certificate(*hosts, salt=name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            pem = Path(folder, "tls.pem")
            pem.write_bytes(certificate.chain + certificate.private_key)
            context.load_cert_chain(pem)
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    found.close = server.close
    try:
        yield found
    finally:
        server.close()


def passed_host(
    *ports: int, host: str = PASSED, name: str = "passed", created: int = 1, **annotations: str
) -> list[KubeObject]:
    """The objects of a host that is passed on to endpoints at these ports."""
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    return [
        ingress(name, {host: {"/": name}}, created=created, annotations={"tls-passthrough": "true", **named}),
        service(name),
        *slices(name, list(ports)),
    ]


def client_hello(name: str | None) -> bytes:
    """The first message of a client of OpenSSL, in one record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def records(hello: bytes, sizes: Iterable[int]) -> bytes:
    """*hello* spread over records of these sizes, the last of which takes the rest."""
    body = hello[5:]
    parts: list[bytes] = []
    for size in sizes:
        parts.append(body[:size])
        body = body[size:]
    parts.append(body)
    return b"".join(hello[:3] + len(part).to_bytes(2) + part for part in parts if part)


@contextlib.asynccontextmanager
async def open_raw(
    address: Address, *chunks: bytes
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection over which *chunks* were sent, each in a segment of its own."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.001)  # not to be joined with the next one
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LONG):
                await writer.wait_closed()
