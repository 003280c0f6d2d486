"""Paced responses and gathered bodies: what becomes of them when something goes wrong."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from ingresskit.graph import Termination
from ingresskit.policies import (
    BandwidthLimit,
    BodyLimit,
    Coding,
    Compression,
    ConnectionLimit,
    RequestBuffering,
)
from ingresskit.proxy import AccessRecord
from tests.unit.proxy.conftest import Seen, Stage, forward, get, reply, until

pytestmark = pytest.mark.anyio

FAST = BandwidthLimit(rate=4_000_000, after=0)
SLOW = BandwidthLimit(rate=1_000, after=0)
POST = get(method="POST", fields=["Transfer-Encoding: chunked"])


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_every_form_of_a_body_arrives_whole(stage: Stage, version: str) -> None:
    body = bytes(range(250)) * 20_000
    forms = {
        b"/length": reply(body),
        b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body[:9], body[9:]),
        b"/close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body,
        b"/empty": reply(b""),
        b"/none": b"HTTP/1.1 204 No Content\r\n\r\n",
    }

    async def answer(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = request.line.split(b" ")[1]
        writer.write(forms[path])
        if path == b"/close":
            await writer.drain()
            writer.close()

    endpoint = await stage.endpoint(answer)
    proxy = await stage.proxy(forward(endpoint.port, policies=[FAST]))
    found: dict[bytes, bytes] = {}
    for path in forms:
        client = await stage.connect(proxy, limit=1 << 23)
        asked = get(path.decode()).replace(b"HTTP/1.1", version.encode())
        found[path] = (await client.ask(asked)).body

    assert found == {
        b"/length": body,
        b"/chunked": body,
        b"/close": body,
        b"/empty": b"",
        b"/none": b"",
    }


async def test_a_connection_goes_on_after_a_paced_response(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"x" * 100_000))
    proxy = await stage.proxy(forward(endpoint.port, policies=[FAST]))
    client = await stage.connect(proxy)

    await client.send(get() * 3)
    answers = [await client.answer() for _ in range(3)]

    assert [len(answer.body) for answer in answers] == [100_000] * 3
    assert endpoint.connections == 1


async def test_a_client_that_reads_slowly_gets_a_paced_response_whole(stage: Stage) -> None:
    size = 20_000_000
    endpoint = await stage.endpoint(reply(b"x" * size))
    proxy = await stage.proxy(forward(endpoint.port, policies=[BandwidthLimit(rate=40_000_000)]))
    client = await stage.connect(proxy, limit=1 << 10)

    await client.send(get())
    await client.reader.readuntil(b"\r\n\r\n")
    got = 0
    while got < size:
        got += len(await client.reader.read(1 << 16))

    assert got == size


async def test_an_endpoint_that_breaks_off_breaks_off_a_paced_response(stage: Stage) -> None:
    async def cut(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        await writer.drain()
        writer.close()

    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(cut)
    proxy = await stage.proxy(forward(endpoint.port, policies=[FAST]), access_log=records.append)
    client = await stage.connect(proxy)
    await client.send(get())

    assert (await client.rest()).endswith(b"half of it")
    assert [record.termination for record in records] == [Termination.UPSTREAM_TRUNCATED]


async def test_a_client_that_leaves_a_paced_response_leaves_nothing_behind(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(reply(b"x" * 1_000_000))
    limits = [SLOW, ConnectionLimit(most=1)]
    proxy = await stage.proxy(forward(endpoint.port, policies=limits), access_log=records.append)
    client = await stage.connect(proxy)
    await client.send(get())
    await client.reader.readexactly(50)

    await client.close()
    await until(lambda: bool(records))

    (backend,) = proxy.statistics().backends.values()
    assert backend.active == 0
    assert records[0].termination is Termination.CLIENT_LEFT
    assert records[0].sent_bytes < 10_000
    other = await stage.connect(proxy)
    assert (await other.ask(get(method="HEAD"), head_only=True)).status == 200


async def test_an_endpoint_is_free_while_its_response_is_paced(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"x" * 20_000))
    proxy = await stage.proxy(forward(endpoint.port, policies=[SLOW]))
    slow, other = await stage.connect(proxy), await stage.connect(proxy)
    await slow.send(get())
    await slow.reader.readexactly(50)

    assert (await other.ask(get(method="HEAD"), head_only=True)).status == 200
    assert endpoint.connections == 1


async def test_a_gathered_body_that_is_too_large_is_refused_before_an_endpoint_sees_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    policies = [RequestBuffering(max_bytes=1_000), BodyLimit(max_bytes=10)]
    proxy = await stage.proxy(forward(endpoint.port, policies=policies))
    client = await stage.connect(proxy)
    await client.send(POST + chunks(b"x" * 11, end=b""))

    assert (await client.answer()).status == 413
    assert endpoint.connections == 0


async def test_a_gathered_body_that_is_malformed_is_refused_before_an_endpoint_sees_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[RequestBuffering(max_bytes=1_000)]))
    client = await stage.connect(proxy)
    await client.send(POST + chunks(b"hello", end=b"no chunk\r\n"))

    assert (await client.answer()).status == 400
    assert endpoint.connections == 0


async def test_a_client_that_leaves_while_its_body_is_gathered_leaves_nothing_behind(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint()
    policies = [RequestBuffering(max_bytes=1_000), ConnectionLimit(most=1)]
    proxy = await stage.proxy(forward(endpoint.port, policies=policies), access_log=records.append)
    client = await stage.connect(proxy)
    await client.send(POST + chunks(b"hello", end=b""))
    await client.close()
    await until(lambda: bool(records))

    (backend,) = proxy.statistics().backends.values()
    assert backend.active == 0
    assert records[0].termination is Termination.CLIENT_LEFT
    assert endpoint.connections == 0
    assert (await (await stage.connect(proxy)).ask(get())).status == 200


async def test_a_client_that_waits_for_leave_to_send_gets_it_of_the_proxy(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[RequestBuffering(max_bytes=1_000)]))
    client = await stage.connect(proxy)

    await client.send(get(method="POST", fields=["Content-Length: 5", "Expect: 100-continue"]))
    leave = await client.reader.readuntil(b"\r\n\r\n")
    answer = await client.ask(b"hello")

    assert leave.startswith(b"HTTP/1.1 100 ")
    assert answer.status == 200
    assert endpoint.seen[0].body == b"hello"
    assert endpoint.seen[0].value("expect") is None


async def test_a_body_that_is_gathered_is_sent_again_to_another_endpoint(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    closed = await stage.closed_port()
    proxy = await stage.proxy(forward(closed, endpoint.port, policies=[RequestBuffering(max_bytes=1_000)]))
    client = await stage.connect(proxy)

    for _ in range(2):
        await client.send(POST + chunks(b"hello"))
        assert (await client.answer()).status == 200

    assert [(seen.body, seen.value("content-length")) for seen in endpoint.seen] == [(b"hello", "5")] * 2


async def test_a_paced_response_may_be_compressed(stage: Stage) -> None:
    body = bytes(range(250)) * 2_000
    endpoint = await stage.endpoint(reply(body, fields=["Content-Type: text/plain"]))
    compression = Compression(coding=Coding.GZIP, types=("*",))
    proxy = await stage.proxy(forward(endpoint.port, policies=[FAST, compression]))
    client = await stage.connect(proxy)

    answer = await client.ask(get(fields=["Accept-Encoding: gzip"]))

    assert answer.value("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == body
