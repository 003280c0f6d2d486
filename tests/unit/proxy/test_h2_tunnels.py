"""WebSocket on a stream of HTTP/2 (RFC 8441), to endpoints of HTTP/1.1."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from ingresskit.testing.http2 import request_fields
from tests.unit.proxy.conftest import Seen, Stage, forward, reply, until
from tests.unit.proxy.http2 import HOST, http2

pytestmark = pytest.mark.anyio

CONNECT = (
    *request_fields("/chat", host=HOST, method="CONNECT"),
    (b":protocol", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"chat"),
)


def switched(request: Seen, *, key: str | None = None) -> bytes:
    """The response of an endpoint that takes the upgrade."""
    text = (key or request.value("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()  # noqa: S324 - RFC 6455
    lines = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
    return "\r\n".join(
        (*lines, f"Sec-WebSocket-Accept: {accept}", "Sec-WebSocket-Protocol: chat", "", "")
    ).encode()


async def echo(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert request.value("connection") == "Upgrade"
    assert request.value("upgrade") == "websocket"
    writer.write(switched(request) + b"first ")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b" last")
    writer.close()


async def test_bytes_pass_both_ways_until_both_ends_are_done(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ready()
        stream = client.open(CONNECT, last=False)
        client.send(stream, b"early ")
        response = await client.head(stream)
        assert response.status == 200
        assert response.values("sec-websocket-accept") == []
        assert response.value("sec-websocket-protocol") == "chat"
        await until(lambda: response.body == b"first early ")
        assert proxy.statistics().tunnels_open == 1
        # Other requests go on beside it.
        client.send(stream, b"x" * 300_000)
        await until(lambda: len(response.body) == 300_012)
        client.send(stream, b"", last=True)
        await until(lambda: response.complete)
        assert response.body.endswith(b" last")
        await until(lambda: proxy.statistics().tunnels_open == 0)
        assert await client.ended(stream) == 0

    assert endpoint.seen[0].line == b"GET /chat HTTP/1.1"
    assert endpoint.seen[0].value("sec-websocket-version") == "13"


async def test_reset_of_the_client_ends_the_tunnel(stage: Stage) -> None:
    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ready()
        stream = client.open(CONNECT, last=False)
        await client.head(stream)
        client.reset(stream)
        await until(lambda: proxy.statistics().tunnels_open == 0)
        await until(lambda: proxy.statistics().upstream_open == 0)
        assert not client.is_over


async def test_endpoint_that_refuses_is_heard(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"no", status="403 Forbidden"))
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ready()
        stream = client.open(CONNECT, last=False)
        response = await client.response(stream)
        assert (response.status, response.body) == (403, b"no")
        assert await client.ended(stream) == 0


async def test_endpoint_that_does_not_know_the_key_is_not_believed(stage: Stage) -> None:
    async def lie(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switched(request, key="another"))
        await reader.read()

    endpoint = await stage.endpoint(lie)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ready()
        stream = client.open(CONNECT, last=False)
        assert await client.ended(stream) == 0xA
        await until(lambda: proxy.statistics().tunnels_open == 0)
        assert proxy.statistics().upstream_open == 0


async def test_other_protocols_are_not_tunnelled(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ready()
        fields = [(name, b"connect-udp" if name == b":protocol" else value) for name, value in CONNECT]
        stream = client.open(fields, last=False)
        assert (await client.response(stream)).status == 501

    assert endpoint.seen == []
