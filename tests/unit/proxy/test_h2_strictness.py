"""What is no request over HTTP/2 reaches no endpoint, and costs its stream and no other."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingresskit.proxy import ProxySettings
from ingresskit.proxy.h2 import connection as h2_connection
from ingresskit.proxy.h2.engine import Engine, EngineLimits, EngineReceiver
from ingresskit.proxy.h2.libraries import make_engine
from ingresskit.proxy.h2.requests import Malformed, RequestReader, read_trailers
from ingresskit.proxy.message.head import BadRequest
from tests.unit.proxy.conftest import LONG, Stage, forward
from tests.unit.proxy.http2 import HOST, block, frame, http2, opening

pytestmark = pytest.mark.anyio

METHOD, SCHEME, AUTHORITY, PATH = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"web.example"),
    (b":path", b"/"),
)
GOOD = (METHOD, SCHEME, AUTHORITY, PATH)

RESET = [
    pytest.param((*GOOD, (b"X-Upper", b"1")), id="name in upper case"),
    pytest.param((*GOOD, (b"connection", b"close")), id="connection"),
    pytest.param((*GOOD, (b"keep-alive", b"1")), id="keep-alive"),
    pytest.param((*GOOD, (b"proxy-connection", b"a")), id="proxy-connection"),
    pytest.param((*GOOD, (b"transfer-encoding", b"chunked")), id="transfer-encoding"),
    pytest.param((*GOOD, (b"upgrade", b"websocket")), id="upgrade"),
    pytest.param((*GOOD, (b"te", b"gzip")), id="te other than trailers"),
    pytest.param((*GOOD, (b"te", b"trailers, gzip")), id="te with more"),
    pytest.param((*GOOD, (b"a b", b"1")), id="space in a name"),
    pytest.param((*GOOD, (b"", b"1")), id="no name"),
    pytest.param((*GOOD, (b"a:b", b"1")), id="colon in a name"),
    pytest.param((*GOOD, (b"a", b"1\r\nb: 2")), id="line end in a value"),
    pytest.param((*GOOD, (b"a", b"1\x00")), id="nul in a value"),
    pytest.param((*GOOD, (b"a", b" 1")), id="space before a value"),
    pytest.param((*GOOD, (b"a", b"1\t")), id="tab behind a value"),
    pytest.param((METHOD, SCHEME, AUTHORITY), id="no path"),
    pytest.param((*GOOD[:3], (b":path", b"")), id="empty path"),
    pytest.param((*GOOD[:3], (b":path", b"http://a/")), id="absolute path"),
    pytest.param((*GOOD[:3], (b":path", b"*")), id="star of no OPTIONS"),
    pytest.param((*GOOD[:3], (b":path", b"/a b")), id="space in the path"),
    pytest.param((SCHEME, AUTHORITY, PATH), id="no method"),
    pytest.param((METHOD, AUTHORITY, PATH), id="no scheme"),
    pytest.param((*GOOD, METHOD), id="second method"),
    pytest.param((*GOOD, PATH), id="second path"),
    pytest.param((*GOOD, AUTHORITY), id="second authority"),
    pytest.param((METHOD, (b"a", b"1"), SCHEME, AUTHORITY, PATH), id="pseudo-header behind a field"),
    pytest.param((*GOOD, (b":status", b"200")), id="status"),
    pytest.param((*GOOD, (b":unknown", b"1")), id="unknown pseudo-header"),
    pytest.param((*GOOD, (b":protocol", b"websocket")), id="protocol without CONNECT"),
    pytest.param((*GOOD, (b"content-length", b"1")), id="length without a body"),
    pytest.param((*GOOD, (b"content-length", b"0"), (b"content-length", b"0")), id="two lengths"),
    pytest.param((*GOOD, (b"content-length", b"+0")), id="length that is no number"),
    pytest.param((METHOD, SCHEME, PATH), id="neither authority nor host"),
    pytest.param((METHOD, SCHEME, PATH, (b"host", b"a"), (b"host", b"a")), id="two hosts"),
    pytest.param((METHOD, SCHEME, (b":authority", b"user@web.example"), PATH), id="user in the authority"),
]
REFUSED = [
    pytest.param((*GOOD, (b"host", b"other.example")), 400, id="host that is not the authority"),
    pytest.param((METHOD, SCHEME, (b":authority", b"web.example:99999"), PATH), 400, id="wrong port"),
    pytest.param((METHOD, (b":scheme", b"ftp"), AUTHORITY, PATH), 400, id="other scheme"),
    pytest.param(((b":method", b"get"), *GOOD[1:]), 400, id="method in lower case"),
    pytest.param(((b":method", b"TRACE"), *GOOD[1:]), 405, id="TRACE"),
    pytest.param(((b":method", b"CONNECT"), AUTHORITY), 405, id="CONNECT"),
    pytest.param((*GOOD[:3], (b":path", b"/a#b")), 400, id="fragment"),
    pytest.param((*GOOD[:3], (b":path", b"/%zz")), 400, id="path without normal form"),
    pytest.param((*GOOD[:3], (b":path", b"/" + b"a" * 120)), 414, id="long path"),
    pytest.param((*GOOD, (b"expect", b"something")), 417, id="unknown expectation"),
    pytest.param((*GOOD, *((b"a", b"1"),) * 11), 431, id="too many fields"),
    pytest.param((*GOOD, *((b"a", b"v" * 120),) * 8), 431, id="too large a head"),
]


@pytest.fixture(params=["ngh2", "h2"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that the proxy uses."""
    name = str(request.param)

    def make(receiver: EngineReceiver, limits: EngineLimits, *, server: bool) -> Engine:
        return make_engine(receiver, limits, server=server, library=name)

    monkeypatch.setattr(h2_connection, "make_engine", make)
    return name


@pytest.mark.parametrize("fields", RESET)
async def test_malformed_request_costs_its_stream(
    stage: Stage, library: str, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    if library == "h2" and (b"content-length", b"+0") in fields:
        pytest.skip("h2 ends the connection for a Content-Length that is no number")
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        other = client.open(GOOD)
        assert (await client.response(other)).status == 200
    wire = await stage.connect(proxy)
    # A second stream in the same write shows that the connection goes on.
    await wire.send(opening(frame(1, 5, 1, block(*fields)), frame(1, 5, 3, block(*GOOD))))
    seen: dict[int, list[int]] = {}
    async with asyncio.timeout(LONG):
        while 3 not in seen:
            head = await wire.reader.readexactly(9)
            payload = await wire.reader.readexactly(int.from_bytes(head[:3], "big"))
            assert head[3] != 7, f"GOAWAY {payload!r}"
            if number := int.from_bytes(head[5:], "big"):
                seen.setdefault(number, []).append(head[3])
                if head[3] == 3:
                    assert payload == b"\0\0\0\1"

    assert seen[1] == [3]  # RST_STREAM, and nothing else
    assert [request.line for request in endpoint.seen] == [b"GET / HTTP/1.1"] * 2


@pytest.mark.parametrize(("fields", "status"), REFUSED)
async def test_request_that_is_refused_gets_the_status_of_http_1(
    stage: Stage, library: str, fields: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(
        forward(endpoint.port), max_request_line_bytes=120, max_header_bytes=1000, max_headers=10
    )
    async with http2(proxy) as client:
        response = await client.response(client.open(fields))
        assert response.status == status
        assert (await client.ask(host=HOST)).status == 200

    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("body", [b"abcd", b"ab"], ids=["more", "less"])
async def test_body_of_another_length_than_declared_is_never_passed_on_as_whole(
    stage: Stage, library: str, body: bytes
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        response = await client.ask(host=HOST, method="POST", body=body, fields=[("content-length", "3")])

    assert response.status in (0, 400)
    assert endpoint.seen == []


async def test_host_may_agree_with_the_authority(stage: Stage, library: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        for extra in ((AUTHORITY, (b"host", b"WEB.example")), ((b"host", b"web.example"),)):
            pseudo = [field for field in extra if field[0].startswith(b":")]
            rest = [field for field in extra if not field[0].startswith(b":")]
            response = await client.response(client.open((METHOD, SCHEME, PATH, *pseudo, *rest)))
            assert response.status == 200

    assert [request.values("host") for request in endpoint.seen] == [["web.example"]] * 2


async def test_block_that_is_far_too_large_ends_the_connection(stage: Stage, library: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), max_header_bytes=2000, max_headers=20)
    async with http2(proxy) as client:
        client.open((*GOOD, *((b"a%d" % index, b"v" * 300) for index in range(60))))
        await client.over()
        assert client.going_away_frames
    assert endpoint.seen == []


async def test_trailers_that_are_none_are_refused(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy, library="h2") as client:
        stream = client.open(((b":method", b"POST"), *GOOD[1:]), last=False)
        client.send_trailers(stream, [(b"connection", b"close")])
        response = await client.response(stream)
        assert response.status in (0, 400)
        assert (await client.ask(host=HOST)).status == 200

    assert len(endpoint.seen) == 1


SOME_NAMES = (
    *(
        b":method",
        b":path",
        b":scheme",
        b":authority",
        b":protocol",
        b"host",
        b"te",
        b"cookie",
        b"a",
        b"A",
        b"x y",
    ),
    *(b"content-length", b"connection", b"expect", b"max-forwards", b"x-forwarded-for", b"authorization", b""),
)
NAMES = st.sampled_from(SOME_NAMES)
VALUES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"GET", b"/", b"http", b"web.example", b"trailers", b"CONNECT", b"websocket", b"0", b"7"]),
)


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=14), ended=st.booleans(), good=st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_fields_are_a_head_of_whole_lines_or_refused(
    fields: list[tuple[bytes, bytes]], ended: bool, good: bool
) -> None:
    if good:
        fields = [*GOOD, *(field for field in fields if not field[0].startswith(b":"))]
    try:
        head = RequestReader(ProxySettings()).read(fields, ended=ended)
    except (BadRequest, Malformed):
        return
    lines = head.fields.split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.partition(b": ")[1] for line in lines)
    assert b"\n" not in head.fields.replace(b"\r\n", b"")
    assert b"\r" not in head.fields.replace(b"\r\n", b"")
    assert head.target[:1] in (b"/", b"*")
    assert not head.fields.lower().startswith((b"host:", b"connection:"))
    assert (head.length == 0) or not ended


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_trailers_are_whole_lines_or_refused(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        lines = read_trailers(fields)
    except Malformed:
        return

    assert lines.count(b"\r\n") == lines.count(b"\n") == lines.count(b"\r") == len(fields)
