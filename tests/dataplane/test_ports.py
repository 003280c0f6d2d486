"""Whatever the proxy: connections to further ports are passed on, by itself or by its delegate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

import pytest

from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, Snapshot
from ingresskit.testing import ingress_class, service
from ingresskit.testing.planes import Plane, free_port
from ingresskit.translate import translate
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.passed import TlsEndpoint, tls_endpoint
from tests.dataplane.stage import OPTIONS, Stage, slices
from tests.unit.proxy.conftest import LONG

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


async def serve(stage: Stage, entries: Mapping[int, str], **endpoints: TlsEndpoint) -> None:
    """Have the proxy listen at these ports, for Services with these endpoints."""
    objects: list[KubeObject] = [ingress_class()]
    objects.append(
        ConfigMap(
            metadata=ObjectMeta(namespace="edge", name="tcp"),
            data={str(port): text for port, text in entries.items()},
        )
    )
    for name, endpoint in endpoints.items():
        objects += [service(name), *slices(name, [endpoint.port])]
    options = replace(OPTIONS, tcp_services=ObjectKey("edge", "tcp"))
    await stage.plane.serve(translate(Snapshot.of(objects), options).graph)


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a port that is about to be listened at."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)


async def refused(port: int) -> None:
    """Wait until no connection to *port* is taken any more."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:  # it was in the queue of the listener
                continue
            writer.close()
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def talking(
    port: int, *first: bytes
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await connected(port)
    try:
        for data in first:
            writer.write(data)
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_port_is_passed_on_and_follows_changes_without_a_restart(stage: Stage) -> None:
    first, second = free_port(), free_port()
    async with tls_endpoint("one", raw=True) as one, tls_endpoint("two", raw=True) as two:
        await serve(stage, {first: "default/one:80"}, one=one, two=two)
        async with talking(first, b"hello") as (reader, writer), asyncio.timeout(LONG):
            assert await reader.readexactly(5) == b"hello"

            # Another port comes, another Service takes the first: what stands stays.
            await serve(stage, {first: "default/two:80", second: "default/one:80"}, one=one, two=two)
            async with talking(second, b"again") as (other, _):
                assert await other.readexactly(5) == b"again"
            async with talking(first, b"other") as (other, others):
                assert await other.readexactly(5) == b"other"
                others.write_eof()
                assert await other.read() == b"two"
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still"

            # The port goes: connections that stand are not touched.
            await serve(stage, {second: "default/one:80"}, one=one, two=two)
            await refused(first)
            writer.write(b"drain")
            assert await reader.readexactly(5) == b"drain"
            writer.write_eof()
            assert await reader.read() == b"one"


async def test_client_that_waits_for_the_server_to_speak_first_is_served(stage: Stage) -> None:
    port = free_port()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    greeter = TlsEndpoint("greeter", port=server.sockets[0].getsockname()[1])
    await serve(stage, {port: "default/greeter:80"}, greeter=greeter)
    async with talking(port) as (reader, _), asyncio.timeout(LONG):
        assert await reader.read() == b"220 ready\r\n"
    server.close()


async def test_endpoint_is_sent_the_address_of_the_client(stage: Stage) -> None:
    port = free_port()
    async with tls_endpoint("one", raw=True) as one:
        await serve(stage, {port: "default/one:80::PROXY"}, one=one)
        async with talking(port, b"hello") as (reader, writer), asyncio.timeout(LONG):
            own = writer.get_extra_info("sockname")
            header = await reader.readuntil(b"\r\n")
            assert header == f"PROXY TCP4 127.0.0.1 127.0.0.1 {own[1]} {port}\r\n".encode()
            assert await reader.readexactly(5) == b"hello"


async def test_header_of_the_client_is_read_where_the_entry_says_so(stage: Stage) -> None:
    port = free_port()
    async with tls_endpoint("one", raw=True) as one:
        await serve(stage, {port: "default/one:80:PROXY"}, one=one)
        for header in (
            b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 9000\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc0\x00\x02\x01\x12\x67\x01\xbb",
            b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
        ):
            async with talking(port, header + b"hello") as (reader, _), asyncio.timeout(LONG):
                assert await reader.readexactly(5) == b"hello"
        taken = one.connections
        for wrong in (b"hello, no header\r\n", b"PROXY TCP4 x y 1 2\r\n", b"PROXY TCP4 " + b"1" * 200):
            async with talking(port, wrong) as (reader, _), asyncio.timeout(LONG):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        assert one.connections == taken


async def test_port_without_endpoints_closes_connections(stage: Stage) -> None:
    port = free_port()
    await serve(stage, {port: "default/none:80"})
    async with talking(port, b"hello") as (reader, _), asyncio.timeout(LONG):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
