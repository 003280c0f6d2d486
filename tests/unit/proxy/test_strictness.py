"""Requests that two parsers could read in two ways are refused, and their connection ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.proxy.conftest import Seen, Stage, forward, get, reply

pytestmark = pytest.mark.anyio

HOST = b"Host: web.example\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


REFUSED = {
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "no host in HTTP/1.0": (400, b"GET / HTTP/1.0\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\n" + HOST + b"Host: other.example\r\n\r\n"),
    "the same host twice": (400, b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n"),
    "empty host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "host with a comma": (400, b"GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n"),
    "host with a path": (400, b"GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n"),
    "host with a user": (400, b"GET / HTTP/1.1\r\nHost: me@a.example\r\n\r\n"),
    "host with a wrong port": (400, b"GET / HTTP/1.1\r\nHost: a.example:99999\r\n\r\n"),
    "host in brackets that is no address": (400, b"GET / HTTP/1.1\r\nHost: [:::::]\r\n\r\n"),
    "host with a space": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "absolute target of another host": (400, b"GET http://other.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute target with another port": (400, b"GET http://web.example:81/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute target with a user": (400, b"GET http://me@web.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute target of another scheme": (400, b"GET ftp://web.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (405, b"CONNECT web.example:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "TRACE": (405, b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "star target": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target without a slash": (400, b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with a fragment": (400, get("/a#b")),
    "query with a fragment": (400, get("/a?b#c")),
    "target with raw non-ASCII": (400, b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with a tab": (400, b"GET /a\tb HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with a NUL": (400, b"GET /a\x00b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "query with a control character": (400, b"GET /a?\x01 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "path with an escaped NUL": (400, get("/a%00")),
    "path above the root": (400, get("/a/../../b")),
    "path with a hidden parent": (400, get("/public/..%2fadmin")),
    "path with a wrong escape": (400, get("/%zz")),
    "two spaces after the method": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "space before the line end": (400, b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    "tab in the request line": (400, b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "lower-case method": (400, b"get / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "method with a lower-case letter": (400, b"FROb / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "method of 33 letters": (400, b"F" * 33 + b" / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "unknown method with two lengths": (
        400,
        b"FROB / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    ),
    "hops that are not a number": (400, b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Max-Forwards: -1\r\n\r\n"),
    "no version": (400, b"GET /\r\n" + HOST + b"\r\n"),
    "version 0.9": (505, b"GET / HTTP/0.9\r\n" + HOST + b"\r\n"),
    "version 1.2": (505, b"GET / HTTP/1.2\r\n" + HOST + b"\r\n"),
    "version 2.0": (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    "version without a minor": (400, b"GET / HTTP/1\r\n" + HOST + b"\r\n"),
    "version without a number": (400, b"GET / HTTP/\r\n" + HOST + b"\r\n"),
    "version that ends in its dot": (400, b"GET / HTTP/2.\r\n" + HOST + b"\r\n"),
    "version with more digits": (400, b"GET / HTTP/1.10\r\n" + HOST + b"\r\n"),
    "lower-case version": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "a TLS handshake": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "two empty lines first": (400, b"\r\n\r\n" + get()),
    "CR first": (400, b"\r" + get()),
    "bare LF after the request line": (400, b"GET / HTTP/1.1\n" + HOST + b"\r\n"),
    "bare LF after a field": (400, b"GET / HTTP/1.1\r\nHost: web.example\nX: y\r\n\r\n"),
    "bare LFs only": (400, b"GET / HTTP/1.1\nHost: web.example\n\n"),
    "bare CR in a value": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n"),
    "CR CR LF": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\r\n\r\n"),
    "NUL in a value": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n"),
    "control character in a value": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x0bb\r\n\r\n"),
    "folded field": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n"),
    "folded with a tab": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n"),
    "folded first field": (400, b"GET / HTTP/1.1\r\n Host: web.example\r\n\r\n"),
    "space before the colon": (400, b"GET / HTTP/1.1\r\nHost : web.example\r\n\r\n"),
    "space in a name": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X Y: z\r\n\r\n"),
    "empty name": (400, b"GET / HTTP/1.1\r\n" + HOST + b": z\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n"),
    "non-ASCII name": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X\xe4: z\r\n\r\n"),
    "two lengths": (400, post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd")),
    "the same length twice": (400, post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    "list of lengths": (400, post(b"Content-Length: 3, 3", body=b"abc")),
    "signed length": (400, post(b"Content-Length: +3", body=b"abc")),
    "negative length": (400, post(b"Content-Length: -3")),
    "hexadecimal length": (400, post(b"Content-Length: 0x3", body=b"abc")),
    "length with an underscore": (400, post(b"Content-Length: 1_0", body=b"abc")),
    "empty length": (400, post(b"Content-Length:")),
    "length with a fraction": (400, post(b"Content-Length: 3.0", body=b"abc")),
    "length beyond all bounds": (400, post(b"Content-Length: 99999999999999999999999")),
    "length and coding": (400, post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "coding and length": (400, post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n")),
    "two codings": (400, post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "chunked with a parameter": (400, post(b"Transfer-Encoding: chunked;x=y", body=b"0\r\n\r\n")),
    "list of codings": (400, post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n")),
    "coding before chunked": (501, post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    "identity coding": (400, post(b"Transfer-Encoding: identity")),
    "quoted coding": (400, post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    "coding with a vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    "coding misspelled": (400, post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "chunked in HTTP/1.0": (
        400,
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "another expectation": (417, post(b"Expect: 200-ok", b"Content-Length: 3", body=b"abc")),
}

CHUNKED = b"Transfer-Encoding: chunked"
BAD_BODIES = {
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare LF after the last chunk": b"3\r\nabc\r\n0\n\r\n",
    "bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "CR CR LF after the size": b"3\r\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nabc\r\n0\r\n\r\nxxxxxxx\r\n",
    "size with a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "size with an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "size with a space before": b" 3\r\nabc\r\n0\r\n\r\n",
    "size with a space after": b"3 \r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "no size but an extension": b";x=y\r\nabc\r\n0\r\n\r\n",
    "size beyond all bounds": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "size of many zeros": b"0" * 5000 + b"\r\n\r\n",
    "extension with a bare LF": b"3;x\ny\r\nabc\r\n0\r\n\r\n",
    "extension with a NUL": b"3;x\x00\r\nabc\r\n0\r\n\r\n",
    "extension without a name": b"3;=x\r\nabc\r\n0\r\n\r\n",
    "extension without a value": b"3;x=\r\nabc\r\n0\r\n\r\n",
    "extension that is nothing": b"3;\r\nabc\r\n0\r\n\r\n",
    "extension with an open quote": b'3;x="y\r\nabc\r\n0\r\n\r\n',
    "extension with two values": b"3;x=y z\r\nabc\r\n0\r\n\r\n",
    "extension of the last chunk": b"3\r\nabc\r\n0;/\r\n\r\n",
    "endless extension": b"3;" + b"x" * 6000 + b"\r\nabc\r\n0\r\n\r\n",
    "trailer without a colon": b"0\r\nGET /admin HTTP/1.1\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailers without end": b"0\r\n"
    b"X: " + b"y" * 3000 + b"\r\n" + (b"X: " + b"y" * 3000 + b"\r\n") * 6 + b"\r\n",
}


@pytest.mark.parametrize(("status", "request_bytes"), REFUSED.values(), ids=REFUSED.keys())
async def test_doubtful_head_is_refused_and_the_connection_ends(
    stage: Stage, status: int, request_bytes: bytes
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(request_bytes + get("/smuggled"))

    assert (answer.status, answer.value("connection")) == (status, "close")
    assert await client.is_closed()
    assert endpoint.seen == []


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"GET / HTTP/1.1\n\rHost: a\n\r", id="LF before CR"),
        pytest.param(b"GET / HTTP/1.1\rHost: a\r\r", id="CR alone"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", id="LF alone"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\r\n", id="two CR"),
        pytest.param(b"GET / HTTP/1.1\x0bHost: a\x0b\x0b", id="vertical tab"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\x0c\x0c", id="form feed"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\x00", id="NUL"),
    ],
)
async def test_head_whose_lines_end_otherwise_is_refused_at_once(stage: Stage, beginning: bytes) -> None:
    proxy = await stage.proxy(forward(), header_timeout=timedelta(minutes=5))
    client = await stage.connect(proxy)

    assert (await client.ask(beginning)).status == 400


@pytest.mark.parametrize(
    "extension", [b";x", b";x=y", b"; x = y", b';x="y;\\"z"', b";x;y=1 ;z"], ids=lambda one: one.decode()
)
async def test_well_formed_chunk_extensions_are_dropped(stage: Stage, extension: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(post(CHUNKED, body=b"3%b\r\nabc\r\n0%b\r\n\r\n" % (extension, extension)))

    assert answer.status == 200
    assert endpoint.seen[0].body == b"abc"


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_doubtful_body_is_refused_and_both_connections_end(stage: Stage, body: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(post(CHUNKED, body=body) + get("/smuggled"))

    assert (answer.status, answer.value("connection")) == (400, "close")
    assert await client.is_closed()
    assert endpoint.seen == []


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(get(), id="request without a body"),
        pytest.param(post(b"Content-Length: 3", body=b"abc"), id="request with a length"),
        pytest.param(post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), id="request in chunks"),
        pytest.param(b"\r\n" + get(), id="one empty line first"),
        pytest.param(get("http://web.example/"), id="absolute target of the same host"),
        pytest.param(get("http://WEB.example"), id="absolute target without a path"),
        pytest.param(get("/", host="Web.Example.:80"), id="host in another spelling, with a port"),
        pytest.param(get("/", host="[::1]:80"), id="IPv6 host"),
        pytest.param(get("/", fields=["X-Empty:", "X:y", "X:  y \t"]), id="fields with and without spaces"),
        pytest.param(get("/", fields=["X: caf\xe9"]), id="value with a byte above ASCII"),
        pytest.param(get("/?a=%00&b=/../c"), id="query that a path could not be"),
    ],
)
async def test_what_follows_a_good_request_is_the_next_one(stage: Stage, first: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(first + get("/next"))

    assert (await client.answer()).status == 200
    assert (await client.answer()).status == 200
    assert [seen.line.split(b"?")[0] for seen in endpoint.seen][1] == b"GET /next HTTP/1.1"


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ("/a//b/./c/%7Ex", b"GET /a/b/c/~x HTTP/1.1"),
        ("/a/../b?c=../d//e", b"GET /b?c=../d//e HTTP/1.1"),
        ("/a%2fb", b"GET /a%2Fb HTTP/1.1"),
        ("/?", b"GET /? HTTP/1.1"),
        ("http://web.example?x", b"GET /?x HTTP/1.1"),
    ],
)
async def test_endpoint_gets_the_path_that_was_matched(stage: Stage, sent: str, forwarded: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get(sent))

    assert endpoint.seen[0].line == forwarded


@pytest.mark.parametrize(
    ("status", "request_bytes", "settings"),
    [
        pytest.param(414, get("/" + "a" * 300), {"max_request_line_bytes": 200}, id="long request line"),
        pytest.param(414, b"GET /" + b"a" * 300, {"max_request_line_bytes": 200}, id="endless request line"),
        pytest.param(431, get(fields=["X: " + "a" * 2000]), {"max_header_bytes": 1000}, id="large head"),
        pytest.param(
            431, b"GET / HTTP/1.1\r\nX: " + b"a" * 2000, {"max_header_bytes": 1000}, id="endless head"
        ),
        pytest.param(431, get(fields=["X: y"] * 30), {"max_headers": 20}, id="many fields"),
    ],
)
async def test_heads_have_limits(
    stage: Stage, status: int, request_bytes: bytes, settings: dict[str, Any]
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), **settings)
    client = await stage.connect(proxy)

    assert (await client.ask(request_bytes)).status == status
    assert await client.is_closed()


BAD_ANSWERS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokx",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare LF in a field": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\r\nok",
    "folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "status above 599": b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
    "switch nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 600,
    "large head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer_bytes", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_doubtful_answer_is_a_502_and_costs_the_endpoint_its_connection(
    stage: Stage, answer_bytes: bytes
) -> None:
    async def answer_and_end(
        _request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(answer_bytes)
        if not answer_bytes:
            writer.close()

    endpoint = await stage.endpoint(answer_and_end)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get("/", fields=["Connection: close"]))
    everything = await client.rest()

    final = everything[everything.rindex(b"HTTP/1.1 ") :]
    assert final.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert proxy.statistics().upstream_reused == 0


@pytest.mark.parametrize(
    "broken",
    [b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"zz\r\n"],
    ids=["bare LF", "no line end after the data", "no size"],
)
async def test_answer_with_doubtful_chunks_is_cut(stage: Stage, broken: bytes) -> None:
    async def answer(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        sent.set_result(None)
        await go_on
        writer.write(broken)

    loop = asyncio.get_running_loop()
    sent: asyncio.Future[None] = loop.create_future()
    go_on: asyncio.Future[None] = loop.create_future()
    endpoint = await stage.endpoint(answer)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get())
    await sent
    beginning = await client.reader.readuntil(b"abc\r\n")
    go_on.set_result(None)

    assert b" 200 OK" in beginning
    assert await client.is_closed()


async def test_answers_of_the_proxy_say_nothing_of_what_is_behind_it(stage: Stage) -> None:
    port = await stage.closed_port()
    proxy = await stage.proxy(forward(port))
    client = await stage.connect(proxy)

    answer = await client.ask(get())

    assert answer.status == 502
    assert answer.value("content-type") == "text/plain; charset=utf-8"
    assert answer.value("server") is None
    assert answer.body.count(b"\n") == 1
    for secret in (b"127.0.0.1", str(port).encode(), b"shop", b"web"):
        assert secret not in answer.body


async def test_answer_head_names_keep_their_spelling_and_order(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["X-B: 1", "x-a: 2", "Set-Cookie: a=1", "Set-Cookie: b=2"]))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get())

    assert answer.head.split(b"\r\n")[1:5] == [b"X-B: 1", b"x-a: 2", b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
