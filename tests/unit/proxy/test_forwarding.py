"""Requests and answers pass through whole, and connections are used again."""

from __future__ import annotations

import asyncio

import pytest

from ingresskit.policies import ResponseHeaders
from tests.unit.proxy.conftest import Seen, Stage, forward, get, reply, until

pytestmark = pytest.mark.anyio


async def test_request_and_answer_pass_through(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"hello", fields=["X-From: endpoint"]))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get("/a?b=c", fields=["X-From: client"]))

    assert (answer.status, answer.body, answer.value("x-from")) == (200, b"hello", "endpoint")
    assert endpoint.seen[0].line == b"GET /a?b=c HTTP/1.1"
    assert endpoint.seen[0].value("x-from") == "client"


async def test_both_connections_are_kept_and_used_again(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    for _ in range(5):
        assert (await client.ask(get())).status == 200

    statistics = proxy.statistics()
    assert endpoint.connections == 1
    assert (statistics.connections_total, statistics.upstream_opened, statistics.upstream_reused) == (1, 1, 4)
    assert statistics.requests == {"*": {2: 5}}


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    async def echo_path(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(request.line.split(b" ")[1]))

    endpoint = await stage.endpoint(echo_path)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(b"".join(get(f"/{number}") for number in range(50)))
    bodies = [(await client.answer()).body for _ in range(50)]

    assert bodies == [f"/{number}".encode() for number in range(50)]


async def test_bodies_pass_with_a_length_and_in_chunks(stage: Stage) -> None:
    async def echo(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for cut in range(0, len(request.body), 1000):
            piece = request.body[cut : cut + 1000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")

    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    body = bytes(range(256)) * 400

    by_length = await client.ask(get(method="POST", fields=[f"Content-Length: {len(body)}"]) + body)
    chunks = b"".join(
        b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:60000], body[60000:])
    )
    by_chunks = await client.ask(
        get(method="PUT", fields=["Transfer-Encoding: chunked"]) + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    )

    assert by_length.body == body
    assert by_chunks.body == body
    assert endpoint.seen[0].value("content-length") == str(len(body))
    assert endpoint.seen[1].value("transfer-encoding") == "chunked"
    assert endpoint.connections == 1


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "HEAD", id="answer to HEAD with a length"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", id="answer to HEAD, chunked"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "GET", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", "GET", id="304 with a length"),
    ],
)
async def test_answers_without_a_body_end_with_their_head(stage: Stage, answer: bytes, method: str) -> None:
    endpoint = await stage.endpoint(answer)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    first = await client.ask(get(method=method), head_only=True)
    second = await client.ask(get(method=method), head_only=True)

    assert first.head == second.head
    # After one that announced a body, nobody can know whether bytes are still to come.
    assert endpoint.connections == (1 if b": " not in answer else 2)


async def test_answer_that_ends_with_its_connection_is_chunked_for_the_client(stage: Stage) -> None:
    async def until_close(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        writer.close()

    endpoint = await stage.endpoint(until_close)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answers = [await client.ask(get()) for _ in range(2)]

    assert [answer.body for answer in answers] == [b"to the end"] * 2
    assert answers[0].value("transfer-encoding") == "chunked"
    assert endpoint.connections == 2


async def test_old_client_gets_a_plain_body_and_the_end(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(b"GET / HTTP/1.0\r\nHost: web.example\r\n\r\n")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")

    assert body == b"hello"
    assert b"chunked" not in head
    assert b"Connection: close" in head


async def test_old_client_may_ask_to_go_on(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    request = b"GET / HTTP/1.0\r\nHost: web.example\r\nConnection: keep-alive\r\n\r\n"

    answers = [await client.ask(request) for _ in range(2)]

    assert [answer.value("connection") for answer in answers] == ["keep-alive", "keep-alive"]


async def test_client_that_asks_for_the_end_gets_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get(fields=["Connection: close"]))

    assert answer.value("connection") == "close"
    assert await client.is_closed()
    # The endpoint has nothing to do with it.
    assert endpoint.seen[0].value("connection") is None


async def test_expectation_is_passed_on_and_so_is_the_permission(stage: Stage) -> None:
    async def permit(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(reply(await reader.readexactly(int(request.value("content-length") or 0))))

    endpoint = await stage.endpoint(permit, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get(method="POST", fields=["Content-Length: 4", "Expect: 100-continue"]))
    permission = await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"body")
    answer = await client.answer()

    assert permission.startswith(b"HTTP/1.1 100 ")
    assert endpoint.seen[0].value("expect") == "100-continue"
    assert answer.body == b"body"


async def test_early_hints_pass_and_unasked_permissions_do_not(stage: Stage) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    endpoint = await stage.endpoint(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + reply())
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get(fields=["Connection: close"]))

    assert (await client.rest()).startswith(hints + b"HTTP/1.1 200 OK\r\n")


async def test_headers_that_the_route_removes_are_not_in_early_hints_either(stage: Stage) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Inner: 1\r\n\r\n"
    endpoint = await stage.endpoint(hints + reply(fields=["X-Inner: 1"]))
    proxy = await stage.proxy(forward(endpoint.port, policies=[ResponseHeaders(remove=("X-Inner",))]))
    client = await stage.connect(proxy)

    await client.send(get(fields=["Connection: close"]))
    everything = await client.rest()

    assert everything.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"X-Inner" not in everything


@pytest.mark.parametrize(
    ("asked", "answered", "connections"),
    [
        (["Authorization: NTLM TlRMTVNTUAAB"], [], 2),
        (["AUTHORIZATION: negotiate YII="], [], 2),
        ([], ["WWW-Authenticate: Negotiate oYG2"], 2),
        ([], ["WWW-Authenticate: Basic realm=x", "www-authenticate: NTLM"], 2),
        (
            ["Authorization: Bearer ntlm", "Authorization: Basic eA=="],
            ["WWW-Authenticate: Basic realm=ntlm"],
            1,
        ),
    ],
    ids=["NTLM", "Negotiate in another spelling", "an answer to it", "an offer of it", "other schemes"],
)
async def test_connection_that_may_be_authenticated_is_nobody_elses(
    stage: Stage, asked: list[str], answered: list[str], connections: int
) -> None:
    endpoint = await stage.endpoint(reply(fields=answered))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    first = await client.ask(get(fields=[*asked, "X-After: 1"]))
    await client.ask(get())

    assert endpoint.connections == connections
    assert endpoint.seen[0].values("authorization") == [line.partition(": ")[2] for line in asked]
    assert endpoint.seen[0].value("x-after") == "1"
    assert first.values("www-authenticate") == [line.partition(": ")[2] for line in answered]


async def test_early_answer_passes_and_neither_connection_is_used_again(stage: Stage) -> None:
    async def refuse(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"no", status="403 Forbidden"))

    endpoint = await stage.endpoint(refuse, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get(method="POST", fields=["Content-Length: 1000000"]) + b"x" * 1000)

    assert (answer.status, answer.body, answer.value("connection")) == (403, b"no", "close")
    assert await client.is_closed()
    await until(lambda: proxy.statistics().upstream_open == 0)


async def test_answer_that_breaks_off_reaches_the_client_as_broken(stage: Stage) -> None:
    async def break_off(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    endpoint = await stage.endpoint(break_off)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get())
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.answer()


async def test_unsolicited_bytes_cost_the_endpoint_its_connection(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply() + reply(b"for somebody else"))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    bodies = [(await client.ask(get())).body for _ in range(3)]

    assert bodies == [b"ok"] * 3
    assert endpoint.connections == 3
