"""Flow control, floods and ends of HTTP/2 connections: what a client can make the proxy do and hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from ingresskit.graph import Termination
from ingresskit.proxy import AccessRecord, Proxy
from ingresskit.testing.http2 import Http2Client, request_fields
from tests.unit.proxy.conftest import LONG, Seen, Stage, forward, reply, until, until_still
from tests.unit.proxy.http2 import HOST, block, frame, http2, opening

pytestmark = pytest.mark.anyio

GET = block((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"web.example"), (b":path", b"/"))
POST = GET.replace(b"\x03GET", b"\x04POST")
ENHANCE_YOUR_CALM = b"\0\0\0\x0b"


class Source:
    """An endpoint that sends without end, and counts."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(
        self, request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not request.line.startswith(b"GET /endless"):
            writer.write(reply(b"small"))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            writer.write(bytes(16_384))
            self.sent += 16_384
            await writer.drain()


def held(proxy: Proxy) -> int:
    """Octets that the proxy holds for clients."""
    parts = proxy._parts
    assert parts is not None
    return parts.clients.memory.held


async def test_slow_reader_of_one_stream_stops_its_endpoint_and_no_other_stream(stage: Stage) -> None:
    source = Source()
    endpoint = await stage.endpoint(source)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy, window=65_535) as client:
        client.consumes = False
        slow = client.open(request_fields("/endless", host=HOST))
        sent = await until_still(lambda: source.sent)
        assert len(client.responses[slow].body) == 65_535
        assert (await client.ask("/small", host=HOST)).body == b"small"
        # What waits: the mark of the stream, a read of the endpoint's, and the sockets between.
        assert 0 < held(proxy) < 1_000_000
        client.consume(slow, 65_535)
        await until(lambda: len(client.responses[slow].body) > 65_535)
        assert sent < 8_000_000
        client.reset(slow)
        await until(lambda: held(proxy) == 0)


async def test_slow_readers_of_many_streams_make_the_proxy_hold_no_more_than_its_mark(stage: Stage) -> None:
    source = Source()
    endpoint = await stage.endpoint(source)
    proxy = await stage.proxy(forward(endpoint.port), max_waiting_bytes_per_client=64 << 20)
    async with http2(proxy, window=65_535) as client:
        client.consumes = False
        for _ in range(60):
            client.open(request_fields("/endless", host=HOST))
        most = 0

        def count() -> int:
            nonlocal most
            most = max(most, held(proxy))
            return source.sent

        await until_still(count)

        assert (await client.ask("/small", host=HOST)).body == b"small"
        # Each stream may have had one read of its endpoint under way when the mark was passed.
        assert most < (1 << 20) + 60 * 262_144
        assert most < 12 << 20


async def test_upload_to_an_endpoint_that_takes_nothing_is_held_within_the_window(stage: Stage) -> None:
    async def deaf(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.line.startswith(b"POST"):
            await asyncio.Event().wait()
        writer.write(reply())

    endpoint = await stage.endpoint(deaf, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        stream = client.open(request_fields("/", host=HOST, method="POST"), last=False)
        client.send(stream, bytes(64 << 20))
        await until(lambda: held(proxy) > 0)
        still = await until_still(lambda: proxy.statistics().received_bytes)
        assert still < 32 << 20
        assert held(proxy) < 1 << 20
        assert (await client.ask(host=HOST)).status == 200
        client.reset(stream)
        await until(lambda: held(proxy) == 0)


async def test_client_that_takes_nothing_for_too_long_loses_its_stream(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(Source())
    proxy = await stage.proxy(
        forward(endpoint.port), client_write_timeout=timedelta(seconds=0.3), access_log=records.append
    )
    async with http2(proxy, window=65_535) as client:
        client.consumes = False
        stream = client.open(request_fields("/endless", host=HOST))
        assert await client.ended(stream) == 8
        assert not client.is_over
        client.consumes = True
        assert (await client.ask("/small", host=HOST)).status == 200

    assert records[0].termination is Termination.CLIENT_TIMEOUT


async def test_whole_response_that_nobody_takes_is_given_up(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(bytes(50_000)))
    proxy = await stage.proxy(forward(endpoint.port), client_write_timeout=timedelta(seconds=0.3))
    async with http2(proxy, window=1000) as client:
        client.consumes = False
        stream = client.open(request_fields(host=HOST))
        assert await client.ended(stream) == 8
        assert held(proxy) == 0


async def test_body_that_does_not_come_is_a_408(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), body_timeout=timedelta(seconds=0.3))
    async with http2(proxy) as client:
        stream = client.open(request_fields(host=HOST, method="POST"), last=False)
        client.send(stream, b"a")
        response = await client.response(stream)
        assert response.status == 408
        assert (await client.ask(host=HOST)).status == 200


async def test_streams_beyond_the_limit_are_refused_alone(stage: Stage) -> None:
    async def wait(_request: Seen, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port), http2_max_streams=5)
    async with http2(proxy) as client:
        await client.ready()
        assert client.max_streams == 5
        for _ in range(5):
            client.open(request_fields(host=HOST))
        await until(lambda: len(endpoint.seen) == 5)
        client.open(request_fields(host=HOST))  # the client keeps it back
        assert proxy.statistics().http2_streams_open == 5
        assert not client.is_over


async def read_goaway(reader: asyncio.StreamReader) -> bytes:
    """The error code of the GOAWAY that ends a connection."""
    async with asyncio.timeout(LONG):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 7:
                return payload[4:8]


def opened(index: int) -> int:
    """The number of another stream."""
    return 2 * index + 3


def ping(index: int) -> bytes:
    return frame(6, 0, 0, index.to_bytes(8, "big"))


def setting(index: int) -> bytes:
    return frame(4, 0, 0, b"\0\3" + index.to_bytes(4, "big"))


def empty_data(index: int) -> bytes:
    return frame(0, 0, 1) * (1 + index % 2)


def reset(index: int) -> bytes:
    return frame(1, 5, opened(index), GET) + frame(3, 0, opened(index), b"\0\0\0\x08")


def malformed(index: int) -> bytes:
    return frame(1, 5, opened(index), GET + block((b"connection", b"a")))


def made_to_reset(index: int) -> bytes:
    """A request, and a frame that makes the proxy reset it (CVE-2025-8671)."""
    return frame(1, 4, opened(index), GET) + frame(8, 0, opened(index), bytes(4))


@pytest.mark.parametrize("attack", [ping, setting, empty_data, reset, malformed, made_to_reset])
async def test_floods_end_their_connection(stage: Stage, attack: Callable[[int], bytes]) -> None:
    async def wait(_request: Seen, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await stage.connect(proxy)
    wire.writer.write(opening(frame(1, 4, 1, POST)))
    reading = asyncio.create_task(read_goaway(wire.reader))
    for index in range(5000):
        if wire.writer.is_closing() or reading.done():
            break
        wire.writer.write(attack(index))
        await wire.writer.drain()
        if index % 20 == 0:
            await asyncio.sleep(0)

    assert await reading != b"\0\0\0\0"
    await until(lambda: proxy.statistics().http2_streams_open == 0)
    # The endpoint got what was under way at a time, or ended badly within the budget, and no more.
    assert endpoint.connections < 400


async def test_rapid_resets_in_one_write_reach_no_endpoint(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await stage.connect(proxy)
    frames = [frame(1, 5, number, GET) + frame(3, 0, number, b"\0\0\0\x08") for number in range(1, 20_000, 2)]
    wire.writer.write(opening(*frames))

    assert await read_goaway(wire.reader) != b"\0\0\0\0"
    assert endpoint.connections <= 20  # a read may end between the two frames
    await until(lambda: proxy.statistics().connections_open == 0)


async def test_window_updates_without_end_are_served_at_their_cost(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await stage.connect(proxy)
    wire.writer.write(opening(frame(8, 0, 0, b"\0\0\0\1") * 20_000))
    await wire.writer.drain()
    async with http2(proxy) as client:
        assert (await client.ask(host=HOST)).status == 200


async def test_idle_connection_is_ended_politely(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), idle_timeout=timedelta(seconds=0.3))
    async with http2(proxy) as client:
        assert (await client.ask(host=HOST)).status == 200
        await client.over()
        assert client.going_away_frames == [(1, 0)]


async def test_connection_without_a_request_is_ended(stage: Stage) -> None:
    proxy = await stage.proxy(forward(1), header_timeout=timedelta(seconds=0.3))
    async with http2(proxy) as client:
        await client.over()
        assert client.going_away_frames == [(0, 0)]


async def test_drain_finishes_what_is_open_and_takes_what_is_on_its_way(stage: Stage) -> None:
    release = asyncio.Event()

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(reply(b"done"))

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client, http2(proxy) as idle:
        first = client.open(request_fields(host=HOST))
        await until(lambda: len(endpoint.seen) == 1)
        draining = asyncio.create_task(proxy.drain(timedelta(seconds=LONG)))
        second = client.open(request_fields(host=HOST))
        await idle.over()
        await until(lambda: len(client.going_away_frames) == 2)
        assert not client.open(request_fields(host=HOST))
        release.set()
        assert (await client.response(first)).body == b"done"
        assert (await client.response(second)).body == b"done"
        await client.over()
        await draining

    assert client.going_away_frames[0] == (2**31 - 1, 0)
    assert client.going_away_frames[1][0] == second


async def test_close_cuts_streams(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(Source())
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    async with http2(proxy) as client:
        stream = client.open(request_fields("/endless", host=HOST))
        await client.head(stream)
        await proxy.close()
        await client.over()

    assert records[0].termination is Termination.SHUTDOWN


async def test_memory_budget_gives_up_the_connection_that_holds_most(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(Source())
    proxy = await stage.proxy(
        forward(endpoint.port), max_waiting_bytes_per_client=200_000, access_log=records.append
    )
    async with http2(proxy, window=65_535) as client:
        client.consumes = False
        for _ in range(40):
            client.open(request_fields("/endless", host=HOST))
        await client.over()

    await until(lambda: proxy.statistics().connections_open == 0)
    assert {record.termination for record in records} == {Termination.OVERLOADED}
    assert held(proxy) == 0
    assert proxy.statistics().http2_streams_open == 0


async def test_idle_connection_makes_room_at_the_limit(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), max_connections=1)
    async with http2(proxy) as first:
        assert (await first.ask(host=HOST)).status == 200
        async with http2(proxy) as second:
            assert (await second.ask(host=HOST)).status == 200
            await first.over()

    assert isinstance(first, Http2Client)
    assert first.going_away_frames == [(1, 0)]
