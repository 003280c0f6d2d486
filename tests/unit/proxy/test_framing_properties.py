"""However TCP cuts a stream of requests, the same is read; and nothing is read that others refuse."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Sequence

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.proxy.h1.bodies import BodyError, ChunkedBody
from ingresskit.proxy.h1.heads import RequestReader, ResponseReader
from ingresskit.proxy.message.head import BadRequest, BadResponse, RequestHead, ResponseHead
from tests.unit.proxy.conftest import FakeEndpoint, Wire, forward, get

BODY = bytes(range(256)) * 3
STREAM = (
    get("/1", fields=["X-First: 1"])
    + get("/2", method="POST", fields=[f"Content-Length: {len(BODY)}"])
    + BODY
    + get("/3", method="PUT", fields=["Transfer-Encoding: chunked"])
    + b"100;ext=1\r\n%b\r\n1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n" % BODY[:256]
    + b"\r\n"
    + get("/4", fields=["Connection: close"])
)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = [0, *sorted({place % len(data) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks) if start < end]


async def exchange(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """What the endpoint saw, without what differs from run to run, and what the client got."""
    endpoint = FakeEndpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    async with Proxy() as proxy:
        proxy.swap(forward(server.sockets[0].getsockname()[1]))
        listener = await proxy.listen("127.0.0.1", 0)
        wire = Wire(*await asyncio.open_connection(*listener.address))
        for piece in pieces:
            wire.writer.write(piece)
            await wire.writer.drain()
            await asyncio.sleep(0)
        received = await wire.rest()
        await wire.close()
    server.close()
    await asyncio.gather(*endpoint.tasks, return_exceptions=True)
    varying = re.compile(rb"X-Request-ID: [0-9a-f]{32}\r\n|X-Forwarded-Port: [0-9]+\r\n")
    return [(varying.sub(b"", seen.head), seen.body) for seen in endpoint.seen], received


@pytest.fixture(scope="module")
def whole() -> tuple[list[tuple[bytes, bytes]], bytes]:
    return asyncio.run(exchange([STREAM]))


def test_whole_stream_is_four_requests(whole: tuple[list[tuple[bytes, bytes]], bytes]) -> None:
    seen, received = whole

    assert [head.split(b" ")[1] for head, _ in seen] == [b"/1", b"/2", b"/3", b"/4"]
    assert [body for _, body in seen] == [b"", BODY, BODY[:256] + b"x", b""]
    assert received.count(b"HTTP/1.1 200 OK") == 4


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_requests(
    whole: tuple[list[tuple[bytes, bytes]], bytes], places: list[int]
) -> None:
    assert asyncio.run(exchange(cut(STREAM, places))) == whole


def test_stream_of_single_bytes_gives_the_same_requests(whole: tuple[list[tuple[bytes, bytes]], bytes]) -> None:
    assert asyncio.run(exchange(cut(STREAM, range(len(STREAM))))) == whole


def read_chunks(pieces: list[bytes]) -> tuple[bytes, bytes, bool] | None:
    body = ChunkedBody()
    payload, rest = b"", b""
    try:
        for piece in pieces:
            if body.complete:
                rest += piece
                continue
            more, rest = body.take(piece)
            payload += more
    except BodyError:
        return None
    return payload, rest, body.complete


def judge_chunks(data: bytes) -> tuple[bytes, bytes] | None:
    """The same by h11: the payload and what is left, or ``None`` when it is refused or not complete."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    payload = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                payload += event.data
            elif isinstance(event, h11.EndOfMessage):
                return payload, bytes(connection.trailing_data[0])
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


CHUNK_PARTS = st.sampled_from(
    [
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"a;x=y\r\n0123456789\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"\r",
        b"\n",
        b"3",
        b" ",
        b";",
        b"0",
        b"-1",
    ]
)


@given(st.lists(CHUNK_PARTS, max_size=6).map(b"".join), st.lists(st.integers(0, 100), max_size=5))
def test_chunks_are_read_as_h11_reads_them_or_refused(data: bytes, places: list[int]) -> None:
    pieces = cut(data, places) if data else []

    found = read_chunks(pieces)

    assert (found is None) == (read_chunks([data] if data else []) is None)
    if found is not None and found[2]:
        assert judge_chunks(data) == found[:2]


HEAD_PARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"Host: a.example\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"X: y\r\n",
        b" folded\r\n",
        b"X : y\r\n",
        b"X:\x00\r\n",
        b"X: \xff\r\n",
        b"\n",
        b"\r",
        b":",
        b"\t",
    ]
)


@given(st.lists(HEAD_PARTS, max_size=6).map(lambda more: b"".join(more) + b"\r\n"), st.integers(0, 3))
def test_request_heads_are_read_as_h11_reads_them_or_refused(more: bytes, lead: int) -> None:
    data = (b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.0\r\nHost: a\r\n")[
        lead
    ] + more
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return
    raw = data[: end + 4]
    try:
        head = RequestReader(ProxySettings()).read(raw)
    except BadRequest:
        return

    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    event = connection.next_event()

    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (head.method, head.target)
    lengths = [value for name, value in event.headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
    assert head.length == (None if chunked else int(lengths[0]) if lengths else 0)
    special = {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"}
    assert [line.split(b":")[0].lower() for line in head.fields.splitlines()] == [
        name for name, _ in event.headers if name not in special
    ]


LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET /other HTTP/1.1\r\n",
        b"GET http://a/ HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"POST / HTTP/1.1\r\n",
        b"FROB / HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
    ]
)
BLOCKS = st.sampled_from(
    [
        b"Host: a\r\n",
        b"Host: a\r\nX-One: 1\r\n",
        b"Host: b\r\nConnection: close, X-One\r\nX-One: 1\r\n",
        b"Host: a\r\nConnection: keep-alive\r\n",
        b"Host: a\r\nContent-Length: 3\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nX-Forwarded-For: 1.1.1.1\r\n",
        b"Host: a\r\nX-Request-ID: one\r\n",
        b"Host: a\r\nExpect: 100-continue\r\n",
        b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        b"Host: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
        b"Host: a\r\nAuthorization: NTLM x\r\nX-One: 1\r\n",
        b"Authorization: a\r\nAuthorization: b\r\nHost: a\r\nX-One: 1\r\nConnection: close\r\n",
        b"Host: a\r\nX: \x00\r\n",
        b"X-One: 1\r\n",
    ]
)


def all_of(head: RequestHead | ResponseHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in head.__slots__}


def read_request(reader: RequestReader, raw: bytes) -> dict[str, object] | str:
    """All that a head says, or why it is refused."""
    try:
        head = reader.read(raw)
    except BadRequest as exc:
        return str(exc)
    return all_of(head)


@given(st.lists(st.tuples(LINES, BLOCKS), min_size=2, max_size=8))
def test_what_a_connection_said_before_changes_nothing_about_a_request(
    heads: list[tuple[bytes, bytes]],
) -> None:
    reader = RequestReader(ProxySettings())

    for line, block in heads:
        raw = line + block + b"\r\n"
        assert read_request(reader, raw) == read_request(RequestReader(ProxySettings()), raw)


@given(
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"HTTP/1.1 304 Not Modified\r\nX: 1\r\n\r\n",
                b"HTTP/1.0 200 OK\r\n\r\n",
            ]
        ),
        min_size=2,
        max_size=8,
    )
)
def test_what_an_endpoint_said_before_changes_nothing_about_an_answer(heads: list[bytes]) -> None:
    reader = ResponseReader(ProxySettings())

    for raw in heads:
        head, alone = reader.read(raw), ResponseReader(ProxySettings()).read(raw)
        assert all_of(head) == all_of(alone)


@given(st.binary(max_size=200))
def test_junk_is_refused_and_never_more_than_that(data: bytes) -> None:
    for reader, refusal in ((RequestReader, BadRequest), (ResponseReader, BadResponse)):
        with pytest.raises(refusal):
            reader(ProxySettings()).read(b"\x00" + data + b"\r\n\r\n")


def test_many_flipped_bytes_never_smuggle() -> None:
    """A request with some bytes changed is refused, or still one request to h11."""
    chance = random.Random(7)  # noqa: S311 - the same every time
    original = get("/a", method="POST", fields=["Content-Length: 5", "X-One: two"])
    reader = RequestReader(ProxySettings())
    passed = 0
    for _ in range(3000):
        data = bytearray(original)
        for _ in range(chance.randint(1, 2)):
            data[chance.randrange(len(data) - 4)] = chance.choice(b"\r\n\t :,;\x00\x0b\x7f\xffaZ09-_")
        raw = bytes(data)
        if raw.find(b"\r\n\r\n") != len(raw) - 4:
            continue
        try:
            head = reader.read(raw)
        except BadRequest:
            continue
        passed += 1
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(raw)
        event = connection.next_event()
        assert isinstance(event, h11.Request), raw
        lengths = [int(value) for name, value in event.headers if name == b"content-length"]
        assert [head.length] == (lengths or [0]), raw
    assert passed > 300
