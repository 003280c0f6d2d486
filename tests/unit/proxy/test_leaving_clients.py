"""An endpoint learns at once that its client left, whatever the two were doing, and never hears of it again."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from ingresskit.graph import Termination
from ingresskit.proxy import AccessRecord, Proxy
from tests.unit.proxy.conftest import LONG, Handler, Seen, Stage, Wire, forward, get, reply, until
from tests.unit.proxy.test_tls import trusting

pytestmark = pytest.mark.anyio


async def work(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Respond nothing for as long as the connection stands."""
    await reader.read()


async def stream(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An event stream that has sent one event, and then none."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n")
    await reader.read()


async def ended(proxy: Proxy) -> None:
    await until(lambda: proxy.statistics().upstream_open == 0)
    assert [one.active for one in proxy.statistics().backends.values()] == [0]


async def on(stage: Stage, proxy: Proxy, *, tls: bool) -> Wire:
    return await stage.connect(proxy, listener=int(tls), tls=trusting() if tls else None)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    ("answer", "status"),
    [pytest.param(work, 499, id="no response yet"), pytest.param(stream, 200, id="silent event stream")],
)
async def test_endpoint_is_told_that_its_client_left(
    stage: Stage, answer: Handler, status: int, tls: bool
) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(answer)
    proxy = await stage.proxy(forward(endpoint.port), tls=True, access_log=records.append)
    client = await on(stage, proxy, tls=tls)
    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)
    if answer is stream:
        async with asyncio.timeout(LONG):
            await client.reader.readuntil(b"event")

    client.writer.close()

    await ended(proxy)
    assert [(one.status, one.termination) for one in records] == [(status, Termination.CLIENT_LEFT)]
    assert proxy.statistics().upstream_failures == {}


async def test_client_that_ends_its_side_only_has_left_too(stage: Stage) -> None:
    endpoint = await stage.endpoint(work)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    client.writer.write_eof()

    await ended(proxy)
    assert await client.is_closed()


async def test_client_that_ends_its_side_after_its_requests_were_served_has_all_responses(stage: Stage) -> None:
    proxy = await stage.proxy(forward(path="/app"))
    client = await stage.connect(proxy)

    await client.send(get("/1") + get("/2"))
    client.writer.write_eof()

    assert (await client.rest()).count(b"HTTP/1.1 404 Not Found") == 2


async def test_client_that_leaves_with_a_pipelined_request_unread_is_noticed(stage: Stage) -> None:
    endpoint = await stage.endpoint(work)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get("/1"))
    await until(lambda: len(endpoint.seen) == 1)
    await client.send(get("/2"))
    await client.send(get("/3"))

    client.writer.close()

    await ended(proxy)
    assert [seen.line for seen in endpoint.seen] == [b"GET /1 HTTP/1.1"]


async def test_client_that_leaves_while_its_upload_is_held_back_is_noticed(stage: Stage) -> None:
    async def take_nothing(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    endpoint = await stage.endpoint(take_nothing, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get(method="POST", fields=["Content-Length: 100000000"]))
    client.writer.write(b"x" * 50_000_000)
    await until(lambda: len(endpoint.seen) == 1)

    # By a reset: an orderly end would stand behind octets that nobody reads.
    connection: socket.socket = client.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()

    await until(lambda: proxy.statistics().connections_open == 0)
    await ended(proxy)


async def test_request_whose_client_left_is_not_repeated(stage: Stage) -> None:
    leave = asyncio.Event()

    async def fail_late(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.close()

    first, second = await stage.endpoint(fail_late), await stage.endpoint(fail_late)
    proxy = await stage.proxy(forward(first.port, second.port))
    client = await stage.connect(proxy)
    # What follows keeps the first request's client from being read, so its end is seen late.
    await client.send(get())
    await until(lambda: len(first.seen) + len(second.seen) == 1)
    await client.send(get())
    client.writer.close()
    leave.set()

    await ended(proxy)
    assert len(first.seen) + len(second.seen) == 1
    assert proxy.statistics().retries == 0


async def test_connection_goes_on_after_pipelined_requests(stage: Stage) -> None:
    """Held back and looked at is not given up."""

    async def slow(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(reply())

    endpoint = await stage.endpoint(slow)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get() + get())
    statuses = [(await client.answer()).status for _ in range(2)]

    assert statuses == [200, 200]
    assert (await client.ask(get())).status == 200
