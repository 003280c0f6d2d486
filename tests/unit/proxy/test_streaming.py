"""Bodies stream: neither side's slowness is paid for in memory."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from datetime import timedelta

import pytest

from ingresskit.proxy.h1.downstream import H1Downstream
from ingresskit.testing import pace
from tests.unit.proxy.conftest import LONG, Seen, Stage, forward, get, read_head, reply, until, until_still

pytestmark = pytest.mark.anyio

PIECE = b"x" * 65536
# Far beyond what the kernel buffers of three sockets hold together.
PIECES = 1600


async def test_answer_for_a_slow_reader_waits_at_the_endpoint(stage: Stage) -> None:
    written = 0

    async def pour(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        for _ in range(PIECES):
            writer.write(PIECE)
            await writer.drain()
            written += 1

    endpoint = await stage.endpoint(pour)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy, limit=65536)
    await client.send(get())

    stopped_at = await until_still(lambda: written)
    connections = list(proxy._parts.clients.connections) if proxy._parts else []
    assert isinstance(connections[0], H1Downstream)
    waiting = connections[0].transport.get_write_buffer_size()
    await read_head(client.reader)
    received = 0
    async with asyncio.timeout(pace.within(60)):
        while received < len(PIECE) * PIECES:
            received += len(await client.reader.read(1 << 20))

    assert stopped_at < PIECES // 2
    assert waiting < 1_000_000
    assert written == PIECES


async def test_request_for_a_slow_endpoint_waits_at_the_client(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def dawdle(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        digest = hashlib.sha256()
        for _ in range(PIECES):
            digest.update(await reader.readexactly(len(PIECE)))
        writer.write(reply(digest.hexdigest().encode()))

    endpoint = await stage.endpoint(dawdle, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    sent = 0

    async def send() -> None:
        nonlocal sent
        await client.send(get(method="POST", fields=[f"Content-Length: {len(PIECE) * PIECES}"]))
        for _ in range(PIECES):
            await client.send(PIECE)
            sent += 1

    sending = asyncio.ensure_future(send())
    stopped_at = await until_still(lambda: sent)
    received = proxy.statistics().received_bytes
    go_on.set()
    await sending
    answer = await client.answer()

    assert stopped_at < PIECES // 2
    assert received < len(PIECE) * PIECES // 2
    assert answer.body.decode() == hashlib.sha256(PIECE * PIECES).hexdigest()


async def test_bytes_arrive_as_they_are_sent(stage: Stage) -> None:
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def tick(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while step := await steps.get():
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    endpoint = await stage.endpoint(tick)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get())
    async with asyncio.timeout(LONG):
        await client.reader.readuntil(b"\r\n\r\n")
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            steps.put_nowait(event)
            await client.reader.readuntil(event)
        steps.put_nowait(b"")
        await client.reader.readuntil(b"0\r\n\r\n")


async def test_body_begins_to_flow_before_it_is_complete(stage: Stage) -> None:
    arrived = asyncio.get_running_loop().create_future()

    async def listen(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set_result(await reader.readexactly(5))
        writer.write(reply(await reader.readexactly(5)))

    endpoint = await stage.endpoint(listen, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get(method="POST", fields=["Content-Length: 10"]) + b"first")
    async with asyncio.timeout(LONG):
        first = await arrived
    await client.send(b"later")

    assert first == b"first"
    assert (await client.answer()).body == b"later"


async def test_client_that_takes_nothing_is_cut_in_the_end(stage: Stage) -> None:
    async def pour(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        for _ in range(PIECES):
            writer.write(PIECE)
            await writer.drain()

    endpoint = await stage.endpoint(pour)
    proxy = await stage.proxy(forward(endpoint.port), client_write_timeout=timedelta(milliseconds=200))
    host, port = proxy.listeners[0].address
    with socket.create_connection((host, port)) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, get())
        await until(lambda: proxy.statistics().connections_open == 1)

        await until(lambda: proxy.statistics().connections_open == 0)

    await until(lambda: proxy.statistics().upstream_open == 0)


async def test_endpoint_that_takes_nothing_is_a_504_in_the_end(stage: Stage) -> None:
    async def take_nothing(
        _request: Seen, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.Event().wait()

    endpoint = await stage.endpoint(take_nothing, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port, send_timeout=0.2))
    client = await stage.connect(proxy)
    client.writer.write(get(method="POST", fields=[f"Content-Length: {len(PIECE) * PIECES}"]) + PIECE * PIECES)

    assert (await client.answer()).status == 504


async def test_pipelined_requests_are_not_read_ahead_without_bound(stage: Stage) -> None:
    async def wait(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    client.writer.write(get() * 500_000)
    received = await until_still(lambda: proxy.statistics().received_bytes)

    assert received < 1_000_000
