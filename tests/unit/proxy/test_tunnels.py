"""Upgraded connections pass bytes both ways, after the endpoint said 101 and not before."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ingresskit.testing import pace
from tests.unit.proxy.conftest import LONG, Seen, Stage, forward, get, reply, until, until_still

pytestmark = pytest.mark.anyio

UPGRADE = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


async def echo(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(SWITCH)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_bytes_pass_both_ways_after_the_switch(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get("/chat", fields=UPGRADE))
    payload = bytes(range(256)) * 4000
    client.writer.write(payload)
    async with asyncio.timeout(LONG):
        back = await client.reader.readexactly(len(payload))

    assert answer.status == 101
    assert answer.value("upgrade") == "websocket"
    assert answer.value("sec-websocket-accept") == "x"
    assert endpoint.seen[0].value("connection") == "Upgrade"
    assert endpoint.seen[0].value("upgrade") == "websocket"
    assert back == payload
    assert proxy.statistics().tunnels_open == 1
    assert proxy.statistics().requests == {"*": {1: 1}}


async def test_bytes_sent_early_arrive_after_the_switch(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get(fields=UPGRADE) + b"early")
    async with asyncio.timeout(LONG):
        back = await client.reader.readexactly(5)

    assert (answer.status, back) == (101, b"early")


async def test_refused_upgrade_is_an_ordinary_answer(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"no", status="426 Upgrade Required"))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    # What follows must be read as a request, whatever the client hoped for.
    await client.send(get(fields=UPGRADE) + get("/next"))

    assert (await client.answer()).status == 426
    assert (await client.answer()).status == 426
    assert endpoint.seen[1].line == b"GET /next HTTP/1.1"


@pytest.mark.parametrize("connection", [["Connection: Upgrade"], []], ids=["named", "not named"])
async def test_upgrade_that_is_required_is_told_to_the_client(stage: Stage, connection: list[str]) -> None:
    required = reply(b"no", status="426 Upgrade Required", fields=["Upgrade: websocket", *connection])
    endpoint = await stage.endpoint(required)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answers = [await client.ask(get()) for _ in range(2)]

    assert [(one.status, one.value("upgrade")) for one in answers] == [(426, "websocket")] * 2
    assert [one.values("connection") for one in answers] == [["Upgrade"]] * 2


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAM"], id="HTTP/2"
        ),
        pytest.param(["Connection: Upgrade", "Upgrade: TLS/1.0"], id="TLS"),
        pytest.param(["Connection: Upgrade", "Upgrade: HTTP/2.0"], id="HTTP by its name"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket, h2c"], id="a list"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"], id="two fields"),
        pytest.param(["Upgrade: websocket"], id="without Connection"),
        pytest.param([*UPGRADE, "Content-Length: 2"], id="with a body"),
    ],
)
async def test_other_offers_to_upgrade_are_not_passed_on(stage: Stage, fields: list[str]) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get(fields=fields) + (b"hi" if "Content-Length: 2" in fields else b""))

    assert (await client.answer()).status == 200
    assert (await client.ask(get("/next"))).status == 200
    assert endpoint.seen[1].line == b"GET /next HTTP/1.1"
    assert endpoint.seen[0].value("upgrade") is None
    assert endpoint.seen[0].value("connection") is None
    assert endpoint.seen[0].value("http2-settings") is None


async def test_switch_to_another_protocol_is_a_502(stage: Stage) -> None:
    endpoint = await stage.endpoint(SWITCH.replace(b"websocket", b"h2c"))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=UPGRADE))).status == 502


async def test_end_of_one_side_reaches_the_other(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get(fields=UPGRADE))
    client.writer.write(b"last words")
    client.writer.write_eof()

    assert await client.rest() == b"last words"
    await until(lambda: proxy.statistics().tunnels_open == 0 and proxy.statistics().connections_open == 0)
    assert [one.active for one in proxy.statistics().backends.values()] == [0]


async def test_client_that_is_cut_ends_the_endpoint_side(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get(fields=UPGRADE))
    client.writer.transport.abort()

    await until(lambda: proxy.statistics().upstream_open == 0)


async def test_silence_ends_a_tunnel_and_talk_keeps_it(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port, read_timeout=1.0))
    client = await stage.connect(proxy)
    loop = asyncio.get_running_loop()

    await client.ask(get(fields=UPGRADE))
    began = loop.time()
    while loop.time() < began + 1.4:
        await client.send(b"x")
        assert await client.reader.readexactly(1) == b"x"
        await asyncio.sleep(0.05)

    assert await client.is_closed()


async def test_tunnel_of_a_slow_reader_is_not_held_in_memory(stage: Stage) -> None:
    written = 0

    async def pour(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(SWITCH)
        for _ in range(1600):
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 1
        writer.close()

    endpoint = await stage.endpoint(pour)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy, limit=65536)
    await client.ask(get(fields=UPGRADE))
    stopped_at = await until_still(lambda: written)
    received = 0
    async with asyncio.timeout(pace.within(60)):
        while data := await client.reader.read(1 << 20):
            received += len(data)

    assert stopped_at < 800
    assert received == 1600 * 65536


async def test_tunnel_lives_through_a_drain_until_its_grace_is_over(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.ask(get(fields=UPGRADE))

    draining = asyncio.ensure_future(proxy.drain(timedelta(seconds=0.5)))
    await until(lambda: not proxy.listeners)
    await client.send(b"still here")
    alive = await client.reader.readexactly(10)
    await draining

    assert alive == b"still here"
    assert await client.is_closed()
