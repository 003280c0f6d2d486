"""Endpoints that speak HTTP/2: streams share connections, and what goes wrong costs what it must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import h2.errors
import pytest

from ingresskit.graph import Protocol
from ingresskit.policies import UpstreamKeepalive
from ingresskit.proxy.access import AccessRecord
from tests.unit.proxy.conftest import LONG, Stage, Wire, forward, get, until
from tests.unit.proxy.h2_endpoint import Call, H2Endpoint, open_h2

pytestmark = pytest.mark.anyio

H2C = Protocol.H2C


@pytest.fixture
async def endpoint(anyio_backend: object) -> AsyncIterator[H2Endpoint]:
    async with open_h2() as made:
        yield made


async def client_of(stage: Stage, *endpoints: H2Endpoint, **more: Any) -> Wire:  # noqa: ANN401 - handed on
    proxy = await stage.proxy(forward(*(item.port for item in endpoints), protocol=H2C), **more)
    return await stage.connect(proxy)


def post(body: bytes = b"abc", path: str = "/", *fields: str) -> bytes:
    return get(path, method="POST", fields=[f"Content-Length: {len(body)}", *fields]) + body


async def test_a_request_and_its_response_pass(stage: Stage, endpoint: H2Endpoint) -> None:
    endpoint.answer = lambda call: call.reply(b"body", ("x-one", "1"), ("content-length", "4"))
    client = await client_of(stage, endpoint)

    answer = await client.ask(post(b"abc", "/a?b", "X-Two: 2", "Cookie: a=b", "Connection: X-Hop", "X-Hop: 1"))

    call = endpoint.calls[0]
    assert (answer.status, answer.body, answer.value("x-one")) == (200, b"body", "1")
    assert answer.line == b"HTTP/1.1 200 OK"
    assert {name: call.fields[name] for name in call.fields if name.startswith(b":")} == {
        b":method": b"POST",
        b":scheme": b"http",
        b":authority": b"web.example",
        b":path": b"/a?b",
    }
    assert (call.fields[b"x-two"], call.fields[b"content-length"], call.body) == (b"2", b"3", b"abc")
    assert call.fields[b"x-forwarded-for"] == b"127.0.0.1"
    assert not {b"x-hop", b"connection", b"host", b"te"} & call.fields.keys()


async def test_responses_of_unknown_length_are_chunked(stage: Stage, endpoint: H2Endpoint) -> None:
    client = await client_of(stage, endpoint)

    answer = await client.ask(get())

    assert (answer.value("transfer-encoding"), answer.body) == ("chunked", b"ok")


@pytest.mark.parametrize("status", [204, 304])
async def test_responses_without_a_body(stage: Stage, endpoint: H2Endpoint, status: int) -> None:
    endpoint.answer = lambda call: call.head(status=status, last=True)
    client = await client_of(stage, endpoint)

    answers = [await client.ask(get()) for _ in range(2)]

    assert [(item.status, item.body) for item in answers] == [(status, b"")] * 2


async def test_head_requests(stage: Stage, endpoint: H2Endpoint) -> None:
    endpoint.answer = lambda call: call.head(("content-length", "12"), last=True)
    client = await client_of(stage, endpoint)

    answers = [await client.ask(get(method="HEAD"), head_only=True) for _ in range(2)]

    assert [(item.status, item.value("content-length")) for item in answers] == [(200, "12")] * 2


async def test_trailers_pass_both_ways(stage: Stage, endpoint: H2Endpoint) -> None:
    def answer(call: Call) -> None:
        call.head()
        call.data(b"ok")
        call.end(("grpc-status", "0"), ("x-sum", "7"), ("set-cookie", "a=b"))

    endpoint.answer = answer
    client = await client_of(stage, endpoint)
    await client.send(
        get(method="POST", fields=["Transfer-Encoding: chunked", "TE: trailers", "Connection: TE"])
        + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n"
    )

    async with asyncio.timeout(LONG):
        head = await client.reader.readuntil(b"\r\n\r\n")
        rest = await client.reader.readuntil(b"x-sum: 7\r\n\r\n")

    call = endpoint.calls[0]
    assert head.startswith(b"HTTP/1.1 200")
    assert rest == b"2\r\nok\r\n0\r\ngrpc-status: 0\r\nx-sum: 7\r\n\r\n"
    assert (call.body, call.trailers, call.fields[b"te"]) == (b"abc", {b"x-sum": b"1"}, b"trailers")


async def test_interim_responses_pass(stage: Stage, endpoint: H2Endpoint) -> None:
    def answer(call: Call) -> None:
        call.session.connection.send_headers(call.stream, [(":status", "103"), ("link", "</a>")])
        call.reply()

    endpoint.answer = answer
    client = await client_of(stage, endpoint)

    first = await client.ask(get(), head_only=True)
    second = await client.answer()

    assert (first.status, first.value("link"), second.status) == (103, "</a>", 200)


async def test_requests_share_a_connection(stage: Stage, endpoint: H2Endpoint) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    clients = [await stage.connect(proxy) for _ in range(40)]
    for client in clients:
        await client.send(post())
    await until(lambda: len(waiting) == 40)
    for call in reversed(waiting):
        call.reply()

    answers = [await client.answer() for client in clients]

    assert [item.status for item in answers] == [200] * 40
    assert len(endpoint.sessions) == 1


async def test_the_endpoints_limit_of_streams_is_kept(stage: Stage) -> None:
    async with open_h2(max_streams=4) as endpoint:
        proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
        await (await stage.connect(proxy)).ask(get())  # the settings are known
        waiting: list[Call] = []
        endpoint.answer = waiting.append
        clients = [await stage.connect(proxy) for _ in range(12)]
        for client in clients:
            await client.send(get())
        await until(lambda: len(waiting) == 12)
        for call in waiting:
            call.reply()

        answers = [await client.answer() for client in clients]

    assert [item.status for item in answers] == [200] * 12
    assert all(session.most <= 4 for session in endpoint.sessions)
    assert len(endpoint.sessions) >= 3


async def test_what_the_endpoint_refused_is_sent_again(stage: Stage, endpoint: H2Endpoint) -> None:
    def answer(call: Call) -> None:
        if len(endpoint.calls) == 1:
            call.refuse()
        else:
            call.reply(call.body)

    endpoint.answer = answer
    client = await client_of(stage, endpoint)

    answer_ = await client.ask(post(b"once"))

    assert (answer_.status, answer_.body, len(endpoint.calls)) == (200, b"once", 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_reset_by_the_endpoint_is_no_refusal(stage: Stage, endpoint: H2Endpoint, method: str) -> None:
    endpoint.answer = lambda call: call.refuse(h2.errors.ErrorCodes.INTERNAL_ERROR)
    client = await client_of(stage, endpoint)

    status = (await client.ask(get(method=method, fields=["Content-Length: 0"]))).status

    assert status == 502
    assert method == "GET" or len(endpoint.calls) == 1


async def test_a_reset_costs_one_stream(stage: Stage, endpoint: H2Endpoint) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    clients = [await stage.connect(proxy) for _ in range(3)]
    for client in clients:
        await client.send(post())
    await until(lambda: len(waiting) == 3)
    waiting[1].refuse(h2.errors.ErrorCodes.INTERNAL_ERROR)
    waiting[0].reply()
    waiting[2].reply()

    statuses = sorted([(await client.answer()).status for client in clients])

    assert statuses == [200, 200, 502]
    assert len(endpoint.sessions) == 1


async def test_streams_below_the_last_one_of_a_goaway_finish_and_others_go_elsewhere(
    stage: Stage, endpoint: H2Endpoint
) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    first, second, third = [await stage.connect(proxy) for _ in range(3)]
    await first.send(post(b"one"))
    await until(lambda: len(waiting) == 1)
    await second.send(post(b"two"))
    await until(lambda: len(waiting) == 2)
    endpoint.answer = lambda call: call.reply(call.body)
    endpoint.sessions[0].go_away(waiting[0].stream)
    moved = await second.answer()
    fresh = await third.ask(post(b"three"))
    waiting[0].reply(b"late")
    kept = await first.answer()
    await until(lambda: endpoint.sessions[0].lost)

    assert (moved.status, moved.body) == (200, b"two")
    assert (fresh.status, fresh.body) == (200, b"three")
    assert (kept.status, kept.body) == (200, b"late")
    assert len(endpoint.sessions) == 2


async def test_a_client_that_leaves_ends_its_stream(stage: Stage, endpoint: H2Endpoint) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    client = await client_of(stage, endpoint)
    await client.send(post())
    await until(lambda: len(waiting) == 1)
    await client.close()

    await until(lambda: waiting[0].reset is not None)

    assert waiting[0].reset == h2.errors.ErrorCodes.CANCEL
    assert not endpoint.sessions[0].lost


async def test_a_response_that_breaks_off_cuts_its_client(stage: Stage, endpoint: H2Endpoint) -> None:
    def answer(call: Call) -> None:
        call.head()
        call.data(b"part")
        call.refuse(h2.errors.ErrorCodes.INTERNAL_ERROR)

    endpoint.answer = answer
    client = await client_of(stage, endpoint)
    await client.send(get())

    rest = await client.rest()

    assert rest.endswith(b"4\r\npart\r\n")


async def test_a_lost_connection_costs_its_streams(stage: Stage, endpoint: H2Endpoint) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    clients = [await stage.connect(proxy) for _ in range(2)]
    for client in clients:
        await client.send(post())
    await until(lambda: len(waiting) == 2)
    endpoint.answer = lambda call: call.reply()
    endpoint.sessions[0].transport.abort()
    lost = [(await client.answer()).status for client in clients]
    after = await (await stage.connect(proxy)).ask(post())

    assert (lost, after.status) == ([502, 502], 200)


@pytest.mark.parametrize(
    "fields",
    [
        [(":status", "200"), ("connection", "close")],
        [(":status", "200"), ("transfer-encoding", "chunked")],
        [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        [(":status", "200"), ("x", "a\r\nb: c")],
        [(":status", "200"), ("X-Upper", "1")],
        [(":status", "99")],
        [("x", "1")],
        [(":status", "101")],
    ],
    ids=["connection", "coding", "lengths", "line end", "upper case", "status", "no status", "switch"],
)
async def test_malformed_responses_cost_their_stream(
    stage: Stage, endpoint: H2Endpoint, fields: list[tuple[str, str]]
) -> None:
    def answer(call: Call) -> None:
        connection = call.session.connection
        block = connection.encoder.encode(fields)
        header = len(block).to_bytes(3, "big") + b"\x01\x05" + call.stream.to_bytes(4, "big")
        call.session.flush()
        call.session.transport.write(header + block)

    endpoint.answer = answer
    client = await client_of(stage, endpoint)

    assert (await client.ask(post())).status == 502


async def test_a_client_that_reads_nothing_stops_the_endpoint_and_nobody_else(
    stage: Stage, endpoint: H2Endpoint
) -> None:
    size = 8 << 20

    def answer(call: Call) -> None:
        if call.fields[b":path"] == b"/large":
            call.head()
            call.data(bytes(size), last=True)
        else:
            call.reply()

    endpoint.answer = answer
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    slow = [await stage.connect(proxy, limit=1024) for _ in range(3)]
    for client in slow:
        await client.send(get("/large"))
    await until(lambda: endpoint.sent > 0)
    other = await stage.connect(proxy)
    for _ in range(20):
        assert (await other.ask(get())).status == 200
    held = endpoint.sent
    whole = await slow[0].answer()

    assert held < 3 * size
    assert len(whole.body) == size
    assert len(endpoint.sessions) == 1


async def test_an_endpoint_that_reads_nothing_stops_the_client(stage: Stage, endpoint: H2Endpoint) -> None:
    endpoint.reads = False
    client = await client_of(stage, endpoint)
    size = 8 << 20
    await client.send(get(method="POST", fields=[f"Content-Length: {size}"]))
    sent = asyncio.create_task(client.send(bytes(size)))
    await until(lambda: bool(endpoint.calls) and len(endpoint.calls[0].body) >= 65_535)
    received = len(endpoint.calls[0].body)
    assert not sent.done()
    session = endpoint.sessions[0]
    endpoint.reads = True
    session.connection.acknowledge_received_data(received, endpoint.calls[0].stream)
    session.flush()

    answer = await client.answer()
    await sent

    assert (answer.status, len(endpoint.calls[0].body)) == (200, size)


async def test_endpoints_that_leave_finish_their_streams(stage: Stage, endpoint: H2Endpoint) -> None:
    waiting: list[Call] = []
    endpoint.answer = waiting.append
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: len(waiting) == 1)
    async with open_h2() as other:
        proxy.swap(forward(other.port, protocol=H2C))
        fresh = await (await stage.connect(proxy)).ask(get())
        waiting[0].reply(b"late")
        kept = await client.answer()
        await until(lambda: endpoint.sessions[0].lost)

        assert (fresh.status, kept.body, len(other.calls)) == (200, b"late", 1)


async def test_a_silent_endpoint_is_a_504_and_its_stream_is_reset(stage: Stage, endpoint: H2Endpoint) -> None:
    endpoint.answer = lambda call: None
    client = await client_of(stage, endpoint, read_timeout=timedelta(milliseconds=200))

    answer = await client.ask(post())
    await until(lambda: endpoint.calls[0].reset is not None)

    assert answer.status == 504
    assert not endpoint.sessions[0].lost


async def test_connections_carry_as_many_requests_as_the_policy_says(
    stage: Stage, endpoint: H2Endpoint
) -> None:
    held = (UpstreamKeepalive(requests=3),)
    proxy = await stage.proxy(forward(endpoint.port, protocol=H2C, held=held))
    client = await stage.connect(proxy)

    statuses = [(await client.ask(post())).status for _ in range(7)]

    assert statuses == [200] * 7
    assert [len(session.calls) for session in endpoint.sessions] == [3, 3, 1]


async def test_an_endpoint_that_speaks_no_http2_is_a_502(stage: Stage) -> None:
    old = await stage.endpoint(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    records: list[AccessRecord] = []
    proxy = await stage.proxy(forward(old.port, protocol=H2C), access_log=records.append)
    client = await stage.connect(proxy)

    assert (await client.ask(post())).status == 502
    assert records[0].detail


async def test_switches_are_refused(stage: Stage, endpoint: H2Endpoint) -> None:
    records: list[AccessRecord] = []
    client = await client_of(stage, endpoint, access_log=records.append)

    answer = await client.ask(get(fields=["Connection: Upgrade", "Upgrade: websocket"]))

    assert (answer.status, records[0].detail) == (502, "no upgrade over HTTP/2")
    assert not endpoint.calls
