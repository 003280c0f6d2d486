"""Whatever the proxy: requests and answers pass through whole, stream, and share connections."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane.stage import HOST, LONG, Stage
from tests.unit.proxy.conftest import Seen, get, reply, until

pytestmark = pytest.mark.anyio


async def test_request_and_answer_pass_through(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        reply(b"hello", fields=["X-From: endpoint", "Set-Cookie: a", "Set-Cookie: b"])
    )
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get("/a?b=c", fields=["X-From: client"]))

    assert (answer.status, answer.body, answer.value("x-from")) == (200, b"hello", "endpoint")
    assert answer.values("set-cookie") == ["a", "b"]
    assert endpoint.seen[0].line == b"GET /a?b=c HTTP/1.1"
    assert endpoint.seen[0].value("x-from") == "client"


async def test_both_connections_are_kept_and_used_again(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    for _ in range(20):
        assert (await client.ask(get())).status == 200

    # One for each worker of the proxy, and whoever looks whether the endpoint is there.
    assert endpoint.connections <= 5


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    async def echo_path(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(request.line.split(b" ")[1]))

    endpoint = await stage.endpoint(echo_path)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.send(b"".join(get(f"/{number}") for number in range(20)))
    bodies = [(await client.answer()).body for _ in range(20)]

    assert bodies == [f"/{number}".encode() for number in range(20)]


async def test_bodies_pass_with_a_length_and_in_chunks(stage: Stage) -> None:
    async def echo(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for cut in range(0, len(request.body), 1000):
            piece = request.body[cut : cut + 1000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")

    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint)
    client = await stage.connect()
    body = bytes(range(256)) * 400

    by_length = await client.ask(get(method="POST", fields=[f"Content-Length: {len(body)}"]) + body)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:60000], body[60000:])
    )
    by_chunks = await client.ask(
        get(method="PUT", fields=["Transfer-Encoding: chunked"]) + chunks + b"0\r\n\r\n"
    )

    assert by_length.body == body
    assert by_chunks.body == body


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "HEAD", id="answer to HEAD with a length"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "GET", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "GET", id="304"),
    ],
)
async def test_answers_without_a_body_end_with_their_head(stage: Stage, answer: bytes, method: str) -> None:
    endpoint = await stage.endpoint(answer)
    await stage.serve(endpoint)
    client = await stage.connect()

    first = await client.ask(get(method=method), head_only=True)
    second = await client.ask(get(method=method), head_only=True)

    assert (first.status, second.status) == (int(answer.split()[1]),) * 2


async def test_answer_that_ends_with_its_connection_ends_well_for_the_client(stage: Stage) -> None:
    async def until_close(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        writer.close()

    endpoint = await stage.endpoint(until_close)
    await stage.serve(endpoint)
    clients = [await stage.connect() for _ in range(2)]  # it may end with its connection here too

    answers = [await client.ask(get()) for client in clients]

    assert [answer.body for answer in answers] == [b"to the end"] * 2


async def test_old_client_gets_a_plain_body_and_the_end(stage: Stage) -> None:
    async def answer(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.line.endswith(b"HTTP/1.1"):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        else:  # no server sends chunks to who does not know them
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
            writer.close()

    endpoint = await stage.endpoint(answer)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")

    assert body == b"hello"
    assert b"chunked" not in head.lower()


async def test_client_that_asks_for_the_end_gets_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=["Connection: close"]))

    assert answer.value("connection") == "close"
    assert await client.is_closed()
    assert (endpoint.seen[0].value("connection") or "keep-alive").lower() == "keep-alive"


async def test_client_is_permitted_to_go_on(stage: Stage) -> None:
    async def permit(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.value("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(reply(await reader.readexactly(int(request.value("content-length") or 0))))

    endpoint = await stage.endpoint(permit, read_bodies=False)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.send(get(method="POST", fields=["Content-Length: 4", "Expect: 100-continue"]))
    async with asyncio.timeout(LONG):
        permission = await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"body")
    answer = await client.answer()

    assert permission.startswith(b"HTTP/1.1 100 ")
    assert answer.body == b"body"


async def test_bytes_of_an_answer_arrive_as_they_are_sent(stage: Stage) -> None:
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def tick(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while step := await steps.get():
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    endpoint = await stage.endpoint(tick)
    await stage.serve(endpoint)
    client = await stage.connect()

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
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.send(get(method="POST", fields=["Content-Length: 10"]) + b"first")
    async with asyncio.timeout(LONG):
        first = await arrived
    await client.send(b"later")

    assert first == b"first"
    assert (await client.answer()).body == b"later"


async def test_large_bodies_pass_both_ways(stage: Stage) -> None:
    async def echo(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(request.body))

    endpoint = await stage.endpoint(echo)
    await stage.serve(endpoint)
    client = await stage.connect()
    body = bytes(range(256)) * 20_000

    async with asyncio.timeout(LONG):
        answer = await client.ask(get(method="POST", fields=[f"Content-Length: {len(body)}"]) + body)

    assert answer.body == body


async def test_client_that_leaves_ends_the_request_to_the_endpoint(stage: Stage) -> None:
    gone = asyncio.Event()

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        gone.set()

    endpoint = await stage.endpoint(wait)
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.send(get())
    await client.reader.readuntil(b"x\r\n")
    client.writer.transport.abort()

    await until(gone.is_set)


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ("/a//b/./c/%7Ex", b"GET /a/b/c/~x HTTP/1.1"),
        ("/a/../b?c=../d//e", b"GET /b?c=../d//e HTTP/1.1"),
        ("/a%2fb", b"GET /a%2Fb HTTP/1.1"),
        ("/a%20b?c%20d=%2f", b"GET /a%20b?c%20d=%2f HTTP/1.1"),
        ("/?", b"GET /? HTTP/1.1"),
    ],
)
async def test_endpoint_gets_the_path_that_was_matched(stage: Stage, sent: str, forwarded: bytes) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get(sent))

    assert endpoint.seen[0].line == forwarded
