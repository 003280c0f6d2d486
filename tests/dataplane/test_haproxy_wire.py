"""What HAProxy lets through by itself and its program does not, octet by octet."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator

import anyio
import anyio.to_thread
import pytest

from ingresskit.render.haproxy import Capabilities
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.planes import HAPROXY
from tests.dataplane.stage import HOST, LONG, Stage
from tests.unit.proxy.conftest import FakeEndpoint, Seen, get, reply
from tests.unit.proxy.test_lifecycle import blocked_port
from tests.unit.render.haproxy import http2

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(HAPROXY.missing), reason=HAPROXY.missing)]

_OFFER = ("Connection: Upgrade", "Upgrade: tunnel/1")
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tunnel/1\r\n\r\n"
_POST = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n"
_CODED = "Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened("haproxy") as made:
        yield made


@pytest.fixture(scope="module")
async def lasting(plane: Plane) -> AsyncGenerator[FakeEndpoint]:
    """An endpoint that is served for many tests."""
    async with Stage(plane) as stage:
        made = await stage.endpoint(take_trailers=True)
        await stage.serve(made)
        yield made


@pytest.fixture
def endpoint(lasting: FakeEndpoint) -> FakeEndpoint:
    lasting.seen.clear()
    return lasting


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(f"{_POST}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400, id="a coding and a comma"),
        pytest.param(f"{_POST}{_CODED}Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, id="a second, empty coding"),
        pytest.param(f"{_POST}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400, id="a comma and a coding"),
        pytest.param(
            f"POST / HTTP/1.0\r\nHost: {HOST}\r\n{_CODED}\r\n0\r\n\r\n", 400, id="a coding in HTTP/1.0"
        ),
        pytest.param(f"GET / HTTP/1.2\r\nHost: {HOST}\r\n\r\n", 505, id="HTTP/1.2"),
        pytest.param(f"GET / HTTP/2.0\r\nHost: {HOST}\r\n\r\n", 505, id="HTTP/2.0 in words"),
        pytest.param(f"CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n", 405, id="CONNECT"),
        pytest.param(f"{'A' * 33} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400, id="a method of 33 octets"),
        pytest.param(
            f"GET ftp://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400, id="a target of another scheme"
        ),
        pytest.param("GET http:///x HTTP/1.1\r\nHost: \r\n\r\n", 400, id="a target without an authority"),
        pytest.param(f"GET /a\x7fb HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400, id="DEL in the path"),
        pytest.param(
            f"GET /a?b\xe9 HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400, id="an octet above ASCII in the query"
        ),
        pytest.param(
            f"GET /{'x' * 40}\xff{'y' * 40} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 400, id="0xff in the path"
        ),
    ],
)
async def test_what_is_no_request_is_refused_and_its_connection_ends(
    stage: Stage, endpoint: FakeEndpoint, request_: str, status: int
) -> None:
    client = await stage.connect()

    answer = await client.ask(request_.encode("latin-1") + get("/smuggled"))

    # HAProxy has a 422 of its own for codings that do not end with "chunked".
    assert answer.status == status or (answer.status, status) == (422, 400)
    assert await client.is_closed()
    assert endpoint.seen == []


@pytest.mark.parametrize("path", ["/\u00e9", "/a\x7f", "/a b"], ids=["above ASCII", "DEL", "space"])
async def test_raw_octets_in_a_path_are_refused_over_http2_too(
    stage: Stage, endpoint: FakeEndpoint, path: str
) -> None:
    assert stage.plane.https is not None
    port = stage.plane.https[1]
    fields = ((":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path))

    status, _ = await anyio.to_thread.run_sync(lambda: http2.ask(port, fields))

    assert status in (0, 400)
    assert endpoint.seen == []


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("GET", 400)])
async def test_options_of_the_server_in_general_over_http2_asks_no_endpoint(
    stage: Stage, endpoint: FakeEndpoint, method: str, status: int
) -> None:
    assert stage.plane.https is not None
    port = stage.plane.https[1]
    fields = ((":method", method), (":scheme", "https"), (":authority", HOST), (":path", "*"))

    answered, _ = await anyio.to_thread.run_sync(lambda: http2.ask(port, fields))

    assert answered == status
    assert endpoint.seen == []


async def test_a_request_never_becomes_the_rest_of_an_upload_that_was_given_up(stage: Stage) -> None:
    """The endpoint refuses the upload, reads on, and keeps the connection, as RFC 9112, 9.3 lets it."""
    bodies: list[bytes] = []

    async def refuse(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.line.startswith(b"GET "):
            writer.write(reply(b"fine"))
            return
        writer.write(reply(b"early", status="413 Content Too Large"))
        await writer.drain()
        bodies.append(b"")
        while len(bodies[-1]) < 100_000 and (more := await reader.read(65536)):
            bodies[-1] += more

    endpoint = await stage.endpoint(refuse, read_bodies=False)
    await stage.serve(endpoint)
    assert stage.plane.https is not None
    port = stage.plane.https[1]
    fields = ((":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/up"))
    sized = (*fields, ("content-length", "100000"))

    statuses: list[int] = []
    for kind in (sized, fields) * 3:
        status, _ = await anyio.to_thread.run_sync(http2.give_up, port, kind, b"x" * 50_000)
        client = await stage.connect()
        statuses += [status, (await client.ask(get("/probe", fields=["Connection: close"]))).status]

    assert statuses == [413, 200] * 6
    assert not any(b"GET /" in body for body in bodies)


async def test_connections_are_reused_after_requests_over_http2_without_a_body(
    stage: Stage,
) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    assert stage.plane.https is not None
    port, before = stage.plane.https[1], endpoint.connections
    fields = ((":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/"))

    for _ in range(6):
        assert (await anyio.to_thread.run_sync(lambda: http2.ask(port, fields)))[0] == 200

    assert endpoint.connections - before <= 2
    assert not any(seen.values("connection") for seen in endpoint.seen)


async def test_a_switch_that_nobody_asked_for_is_a_502_and_ends_the_connection(stage: Stage) -> None:
    endpoint = await stage.endpoint(_SWITCH)
    await stage.serve(endpoint, annotations={"retries": "0"})
    unasked, asked = await stage.connect(), await stage.connect()

    answer = await unasked.ask(get("/chat", fields=["Upgrade: tunnel/1"]))
    opened_ = await asked.ask(get("/chat", fields=_OFFER))

    assert (answer.status, opened_.status) == (502, 101)
    assert endpoint.connections == 2


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Transfer-Encoding: chunked,", id="a coding and a comma"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding:", id="a second, empty coding"),
        pytest.param(b"X: a\x00b\r\nTransfer-Encoding: chunked", id="NUL"),
    ],
)
async def test_responses_in_doubt_are_a_502(stage: Stage, head: bytes) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    await stage.serve(endpoint, annotations={"retries": "0"})
    client = await stage.connect()

    assert (await client.ask(get())).status == 502


@pytest.mark.parametrize(
    ("protocol", "reaches"), [(None, False), ("kubernetes.io/h2c", True)], ids=["http", "h2c"]
)
async def test_te_trailers_reaches_endpoints_that_speak_http2_only(
    stage: Stage, protocol: str | None, reaches: bool
) -> None:
    seen: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        if protocol is None:
            writer.write(reply())
        else:
            writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # SETTINGS
            while more := await reader.read(65536):
                seen[0] += more

    endpoint = await stage.endpoint()
    endpoint.raw = take
    await stage.serve(endpoint, app_protocol=protocol, annotations={"read-timeout": "1s", "retries": "0"})
    client = await stage.connect()
    await client.ask(get("/", fields=["TE: trailers", "Connection: TE"]))

    # In HPACK the name is spelled out, or Huffman-coded, and so is the value.
    name = any(mark in seen[0] for mark in (b"te\x08trailers", b"te\x86", b"\x82I\x7f", b"\x02te"))
    assert name == reaches


async def test_chunks_are_passed_on_as_they_come(stage: Stage) -> None:
    sent: list[float] = []

    async def trickle(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(4):
            await asyncio.sleep(0.05)
            sent.append(time.monotonic())
            writer.write(b"2\r\nn%d\r\n" % number)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    await stage.serve(await stage.endpoint(trickle))
    client = await stage.connect()
    await client.send(get())
    late: list[float] = []
    async with asyncio.timeout(LONG):
        for number in range(4):
            await client.reader.readuntil(b"n%d" % number)
            late.append(time.monotonic() - sent[number])

    # Held back, each waits for the next, or 200 ms; on a machine that does much else, one may be late.
    assert min(late) < 0.04


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "HTTP/2"])
async def test_the_endpoint_is_told_that_its_client_left(stage: Stage, secure: bool) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def work(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        try:
            await reader.read()
        finally:
            ended.set_result(None)

    endpoint = await stage.endpoint(work)
    await stage.serve(endpoint)
    if secure:
        assert stage.plane.https is not None
        port = stage.plane.https[1]
        fields = ((":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/"))
        with await anyio.to_thread.run_sync(http2.leave, port, fields):
            await asyncio.wait_for(begun.wait(), LONG)
    else:
        client = await stage.connect()
        await client.send(get())
        await asyncio.wait_for(begun.wait(), LONG)
        client.writer.close()

    await asyncio.wait_for(ended, LONG)
    assert len(endpoint.seen) == 1


async def test_an_endpoint_that_takes_no_connection_is_left_out_until_it_does(stage: Stage) -> None:
    good = await stage.endpoint()
    with blocked_port() as port:
        await stage.serve(good, port, annotations={"connect-timeout": "500ms"})
        client = await stage.connect()
        slow = 0
        for _ in range(40):
            begun = time.monotonic()
            assert (await client.ask(get())).status == 200
            slow += time.monotonic() - begun > 0.4

    assert slow == 1


async def test_an_endpoint_that_comes_back_takes_requests_again(stage: Stage) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        good = await stage.endpoint()
        await stage.serve(good, port)
        client = await stage.connect()
        for _ in range(4):
            assert (await client.ask(get())).status == 200
    back = FakeEndpoint()
    server = await asyncio.start_server(back.serve, "127.0.0.1", port)
    try:
        async with asyncio.timeout(LONG):
            while not back.seen:
                assert (await client.ask(get())).status == 200
                await asyncio.sleep(0.02)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("annotations", "length", "status"),
    [
        pytest.param({"allow-sources": "192.0.2.0/24", "body-limit": "10"}, 20, 403, id="source before length"),
        pytest.param({"redirect": "https://x.test/", "body-limit": "10"}, 20, 308, id="redirect first"),
        pytest.param({"body-limit": "10"}, 20, 413, id="length before endpoints"),
        pytest.param({"body-limit": "10"}, 5, 503, id="no endpoint"),
        pytest.param({"allow-sources": "192.0.2.0/24"}, 5, 403, id="source before endpoints"),
    ],
)
async def test_effects_come_in_one_order(
    stage: Stage, annotations: dict[str, str], length: int, status: int
) -> None:
    await stage.serve(annotations=annotations)
    client = await stage.connect()

    answer = await client.ask(get("/", method="POST", fields=[f"Content-Length: {length}"]) + b"x" * length)

    assert answer.status == status


@pytest.mark.parametrize("path", ["/elsewhere", "/closed"])
async def test_a_client_that_still_uploads_over_http2_learns_why_it_is_refused(stage: Stage, path: str) -> None:
    await stage.serve(path="/closed")
    assert stage.plane.https is not None
    port = stage.plane.https[1]
    fields = ((":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", path))

    for _ in range(4):
        status, _ = await anyio.to_thread.run_sync(lambda: http2.ask(port, fields, body=b"x" * 15_000))
        assert status == (404 if path == "/elsewhere" else 503)


async def test_request_trailers_go_no_further_where_haproxy_can_drop_them(stage: Stage) -> None:
    received: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n0\r\n") + await reader.readuntil(b"\r\n"))
        writer.write(reply(fields=["Connection: close"]))

    endpoint = await stage.endpoint()
    endpoint.raw = take
    await stage.serve(endpoint, annotations={"retries": "0"})
    client = await stage.connect()
    await client.ask(f"{_POST}{_CODED}\r\n1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n".encode())

    said = await anyio.run_process([HAPROXY.program or "haproxy", "-v"])
    drops = Capabilities.of(said.stdout.decode()).drops_trailers
    assert received[0].endswith(b"\r\n0\r\n\r\n") == drops
