"""An answer that comes before the end of the request reaches the client, however its sender goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator

import pytest

from ingresskit.policies import BodyLimit
from tests.unit.proxy.conftest import Answer, Stage, Wire, forward, read_head, reply
from tests.unit.proxy.test_tls import trusting

pytestmark = pytest.mark.anyio

SIZE = 8_000_000
POST = b"POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: %d\r\n\r\n" % SIZE
TOO_LARGE = reply(b"too large", status="413 Content Too Large", fields=["Connection: close"])


@contextlib.asynccontextmanager
async def uploading(client: Wire) -> AsyncGenerator[None]:
    """The client sends its body meanwhile, for as long as the proxy takes it."""

    async def upload() -> None:
        with contextlib.suppress(ConnectionError):
            await client.send(POST)
            for _ in range(SIZE // 100_000):
                await client.send(b"x" * 100_000)

    task = asyncio.create_task(upload())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(client: Wire) -> Answer:
    async with uploading(client):
        return await client.answer()


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("attempt", range(5))
async def test_answer_of_an_endpoint_that_leaves_at_once_arrives(
    stage: Stage, reset: bool, attempt: int
) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(TOO_LARGE)
        await writer.drain()
        if reset:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    endpoint = await stage.endpoint(raw=raw)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await ask(client)

    assert (answer.status, answer.body) == (413, b"too large"), f"attempt {attempt}"
    assert proxy.statistics().upstream_reused == 0


async def test_answer_that_breaks_off_when_its_endpoint_leaves_is_cut(stage: Stage) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo")
        await writer.drain()

    endpoint = await stage.endpoint(raw=raw)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await ask(client)


@pytest.mark.parametrize("attempt", range(5))
async def test_early_answer_arrives_through_tls(stage: Stage, attempt: int) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(TOO_LARGE)
        while await reader.read(65536):
            pass

    endpoint = await stage.endpoint(raw=raw)
    proxy = await stage.proxy(forward(endpoint.port), tls=True)
    client = await stage.connect(proxy, listener=1, tls=trusting())

    received = await ask(client)

    assert (received.status, received.body) == (413, b"too large"), f"attempt {attempt}"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_refusal_reaches_a_client_that_reads_after_its_upload(stage: Stage, tls: bool) -> None:
    """As Python's http.client does: a reset would take the response away with it."""
    proxy = await stage.proxy(forward(1, policies=[BodyLimit(max_bytes=1000)]), tls=True)
    client = await stage.connect(proxy, listener=int(tls), tls=trusting() if tls else None)

    await client.send(POST)
    for _ in range(SIZE // 100_000):
        await client.send(b"x" * 100_000)

    assert (await client.answer()).status == 413


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_refusal_of_the_proxy_arrives(stage: Stage, tls: bool) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[BodyLimit(max_bytes=1000)]), tls=True)
    client = await stage.connect(proxy, listener=int(tls), tls=trusting() if tls else None)

    received = await ask(client)

    assert (received.status, received.value("connection")) == (413, "close")
    assert endpoint.seen == []
