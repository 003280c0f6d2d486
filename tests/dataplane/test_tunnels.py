"""Whatever the proxy: upgraded connections pass bytes both ways, and changes leave them alone."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import Seen, get, reply, until
from tests.unit.proxy.test_tunnels import SWITCH, UPGRADE, echo

pytestmark = pytest.mark.anyio


async def test_bytes_pass_both_ways_after_the_switch(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get("/chat", fields=UPGRADE))
    payload = bytes(range(256)) * 4000
    client.writer.write(payload)
    async with asyncio.timeout(LONG):
        back = await client.reader.readexactly(len(payload))

    assert answer.status == 101
    assert (answer.value("upgrade") or "").lower() == "websocket"
    assert answer.value("sec-websocket-accept") == "x"
    assert (endpoint.seen[0].value("upgrade") or "").lower() == "websocket"
    assert "upgrade" in (endpoint.seen[0].value("connection") or "").lower()
    assert back == payload


async def test_bytes_sent_early_arrive_after_the_switch(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=UPGRADE) + b"early")
    async with asyncio.timeout(LONG):
        back = await client.reader.readexactly(5)

    assert (answer.status, back) == (101, b"early")


async def test_refused_upgrade_is_an_ordinary_answer(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"no", status="426 Upgrade Required"))
    await stage.serve(endpoint)
    client = await stage.connect()

    assert (await client.ask(get(fields=UPGRADE))).status == 426


async def test_what_follows_a_refused_upgrade_is_a_request(stage: Stage) -> None:
    """And is judged as one: else it passes by every rule on its way to the endpoint."""
    endpoint = await stage.endpoint(reply(b"no", status="426 Upgrade Required"))
    await stage.serve(endpoint, path="/open")
    client = await stage.connect()

    await client.send(get("/open", fields=UPGRADE) + get("/closed"))

    assert (await client.answer()).status == 426
    try:
        rest = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), LONG)
    except (asyncio.IncompleteReadError, ConnectionError):
        rest = b""
    assert rest == b"" or b" 404 " in rest
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAM"], id="HTTP/2"
        ),
        pytest.param(["Connection: Upgrade", "Upgrade: TLS/1.0"], id="TLS"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket, h2c"], id="a list"),
        pytest.param(["Upgrade: websocket"], id="without Connection"),
    ],
)
async def test_other_offers_to_upgrade_are_not_passed_on(stage: Stage, fields: list[str]) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=fields))

    if answer.status == 400:  # may be refused instead
        assert endpoint.seen == []
        return
    assert answer.status == 200
    assert endpoint.seen[0].value("upgrade") is None
    assert endpoint.seen[0].value("http2-settings") is None


async def test_end_of_one_side_reaches_the_other(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get(fields=UPGRADE))
    endpoint.writers[-1].close()

    assert await client.is_closed()


async def test_client_that_is_cut_ends_the_endpoint_side(stage: Stage) -> None:
    ended = asyncio.Event()

    async def listen(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCH)
        try:
            while await reader.read(65536):
                pass
        finally:
            ended.set()

    endpoint = await stage.endpoint(listen)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get(fields=UPGRADE))
    client.writer.transport.abort()

    await until(ended.is_set)


async def test_silence_ends_a_tunnel_and_talk_keeps_it(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint, annotations={"read-timeout": "1s"})
    client = await stage.connect()
    loop = asyncio.get_running_loop()

    await client.ask(get(fields=UPGRADE))
    began = loop.time()
    async with asyncio.timeout(LONG):
        while loop.time() < began + 2.0:
            await client.send(b"x")
            assert await client.reader.readexactly(1) == b"x"
            await asyncio.sleep(0.1)

    assert await client.is_closed()


async def test_tunnel_outlives_changes_of_everything_else(stage: Stage) -> None:
    endpoint, other = await stage.endpoint(echo), await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()
    await client.ask(get(fields=UPGRADE))

    for number in range(5):
        await stage.serve(other, host=f"other-{number}.example", annotations={"read-timeout": f"{number + 1}s"})
        await client.send(b"still here")
        async with asyncio.timeout(LONG):
            assert await client.reader.readexactly(10) == b"still here"
