"""Whatever the proxy: what endpoints do wrong costs clients as little as can be."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import Seen, get, reply
from tests.unit.proxy.test_lifecycle import blocked_port
from tests.unit.proxy.test_strictness import BAD_ANSWERS

pytestmark = pytest.mark.anyio

POST = get(method="POST", fields=["Content-Length: 2"]) + b"hi"


async def leave(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request, and close without a word."""
    writer.close()


async def say_nothing(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_refused_connection_moves_the_request_to_another_endpoint(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(await stage.closed_port(), endpoint)
    client = await stage.connect()

    answers = [await client.ask(POST) for _ in range(6)]

    assert [answer.status for answer in answers] == [200] * 6
    assert [seen.body for seen in endpoint.seen] == [b"hi"] * 6


async def test_all_connections_refused_is_a_502_that_tells_nothing(stage: Stage) -> None:
    port = await stage.closed_port()
    await stage.serve(port)
    client = await stage.connect()

    answer = await client.ask(get())

    assert answer.status == 502
    for secret in (b"127.0.0.1", str(port).encode(), b"default", b"HAProxy", b"nginx", b"web"):
        assert secret not in answer.body


async def test_no_endpoints_is_a_503(stage: Stage) -> None:
    await stage.serve()
    client = await stage.connect()

    assert (await client.ask(get())).status == 503


async def test_unknown_host_and_path_are_a_404_and_the_connection_goes_on(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, path="/app")
    client = await stage.connect()

    statuses = [
        (await client.ask(get("/app", host="other.example"))).status,
        (await client.ask(get("/apple"))).status,
        (await client.ask(get("/app/x"))).status,
        (await client.ask(get("/apple", method="HEAD"), head_only=True)).status,
        (await client.ask(get("/app"))).status,
    ]

    assert statuses == [404, 404, 200, 404, 200]


async def test_idle_connection_closed_by_its_endpoint_is_no_fault_to_clients(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get())
    for writer in endpoint.writers:
        writer.close()
    await asyncio.sleep(0.1)  # until the end of the connection is with the proxy, which tells nobody

    assert (await client.ask(POST)).status == 200


async def test_request_that_must_not_be_repeated_is_not(stage: Stage) -> None:
    endpoint = await stage.endpoint(leave)
    await stage.serve(endpoint, annotations={"retries": "5"})
    client = await stage.connect()

    assert (await client.ask(POST)).status == 502
    assert len(endpoint.seen) == 1


async def test_request_without_an_answer_is_repeated_elsewhere(stage: Stage) -> None:
    bad, good = await stage.endpoint(leave), await stage.endpoint()
    await stage.serve(bad, good)
    client = await stage.connect()

    statuses = [(await client.ask(get())).status for _ in range(6)]

    assert statuses == [200] * 6
    assert bad.seen


async def test_no_tries_left_is_a_502(stage: Stage) -> None:
    endpoint = await stage.endpoint(leave)
    await stage.serve(endpoint, annotations={"retries": "0"})
    client = await stage.connect()

    assert (await client.ask(get())).status == 502
    assert len(endpoint.seen) == 1


async def test_silent_endpoint_is_a_504(stage: Stage) -> None:
    endpoint = await stage.endpoint(say_nothing)
    await stage.serve(endpoint, annotations={"read-timeout": "200ms", "retries": "0"})
    client = await stage.connect()

    async with asyncio.timeout(LONG):
        assert (await client.ask(get())).status == 504


async def test_request_that_timed_out_is_not_sent_twice(stage: Stage) -> None:
    """An endpoint that is slow gets slower by being asked again."""
    slow, other = await stage.endpoint(say_nothing), await stage.endpoint(say_nothing)
    await stage.serve(slow, other, annotations={"read-timeout": "200ms"})
    client = await stage.connect()

    assert (await client.ask(POST)).status == 504
    assert len(slow.seen) + len(other.seen) == 1


@pytest.mark.parametrize("first", ["silent", "refusing"])
async def test_silent_endpoint_is_a_504_though_another_one_refuses(stage: Stage, first: str) -> None:
    """Whichever comes first, and whether or not the proxy tries the other one."""
    silent, refusing = await stage.endpoint(say_nothing), await stage.closed_port()
    both = (silent, refusing) if first == "silent" else (refusing, silent)
    await stage.serve(*both, annotations={"read-timeout": "200ms", "retries": "2"})
    client = await stage.connect()

    async with asyncio.timeout(LONG):
        answer = await client.ask(get())

    assert answer.status == 504
    assert answer.value("content-type") == "text/plain; charset=utf-8"


async def test_connection_that_is_not_made_in_time_is_given_up(stage: Stage) -> None:
    """With 504, or with 502 where the proxy does not tell why there is no connection."""
    with blocked_port() as port:
        await stage.serve(port, annotations={"connect-timeout": "200ms", "retries": "0"})
        client = await stage.connect()

        async with asyncio.timeout(LONG):
            assert (await client.ask(get())).status in (502, 504)


async def test_endpoint_that_falls_silent_costs_the_client_its_connection(stage: Stage) -> None:
    async def begin(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    endpoint = await stage.endpoint(begin)
    await stage.serve(endpoint, annotations={"read-timeout": "200ms"})
    client = await stage.connect()

    await client.send(get())
    async with asyncio.timeout(LONG):
        head = await client.reader.readuntil(b"hello")

    assert b" 200 " in head
    assert await client.is_closed()


# Each is an answer that two parsers could read in two ways, or none at all.
DOUBTFUL = (
    "two lengths",
    "length and coding",
    "unknown coding",
    "signed length",
    "NUL in a value",
    "another protocol",
    "status of two digits",
    "switch nobody asked for",
    "large head",
    "nothing",
)


@pytest.mark.parametrize("name", DOUBTFUL)
async def test_doubtful_answer_never_reaches_the_next_client(stage: Stage, name: str) -> None:
    """It may become a 502, or an answer that ends where its connection does; nothing of it is left over."""

    async def answer_and_end(
        request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if b"/bad" in request.line:
            writer.write(BAD_ANSWERS[name])
            writer.close()
        else:
            writer.write(reply(b"good"))

    endpoint = await stage.endpoint(answer_and_end)
    await stage.serve(endpoint, annotations={"retries": "0"})
    bad, good = await stage.connect(), await stage.connect()

    await bad.send(get("/bad", fields=["Connection: close"]))
    try:
        first = await bad.rest()
    except ConnectionError:
        first = b""
    answers = [await good.ask(get("/good")) for _ in range(3)]

    if name in ("another protocol", "large head", "nothing", "switch nobody asked for"):
        assert first == b"" or first.startswith(b"HTTP/1.1 502 ")
    assert [answer.body for answer in answers] == [b"good"] * 3
