"""Requests over HTTP/2, through the proxy, to endpoints of HTTP/1.1."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from ingresskit.graph import Redirect
from ingresskit.policies import BodyLimit
from ingresskit.proxy import AccessRecord
from ingresskit.testing.http2 import Http2Client, request_fields
from tests.unit.proxy.conftest import (
    LONG,
    Seen,
    Stage,
    forward,
    get,
    make_table,
    make_target,
    reply,
    until,
)
from tests.unit.proxy.http2 import HOST, http2
from tests.unit.proxy.test_tls import trusting

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_request_is_forwarded_with_what_is_known_of_the_client(stage: Stage, tls: bool) -> None:
    endpoint = await stage.endpoint(reply(b"hello", fields=["X-From: endpoint"]))
    proxy = await stage.proxy(forward(endpoint.port), tls=True)
    async with http2(proxy, listener=int(tls), tls=tls) as client:
        response = await client.ask("/a?b=c", host=HOST, fields=[("X-Custom", "1")])

    assert (response.status, response.body) == (200, b"hello")
    assert response.value("x-from") == "endpoint"
    assert response.value("content-length") == "5"
    assert response.code == 0
    (seen,) = endpoint.seen
    assert seen.line == b"GET /a?b=c HTTP/1.1"
    assert seen.value("host") == HOST
    assert seen.value("x-custom") == "1"
    assert seen.value("x-forwarded-proto") == ("https" if tls else "http")
    assert seen.value("x-forwarded-for") == "127.0.0.1"
    assert seen.value("content-length") is None
    assert seen.value("transfer-encoding") is None


async def test_both_protocols_are_spoken_at_one_port(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), tls=True)
    for listener in (0, 1):
        old = await stage.connect(proxy, listener=listener, tls=trusting() if listener else None)
        assert (await old.ask(get())).status == 200
        async with http2(proxy, listener=listener, tls=bool(listener)) as client:
            assert (await client.ask(host=HOST)).status == 200
    counts = proxy.statistics()

    assert counts.connections_total == 4
    assert counts.http2_connections_total == 2
    await until(lambda: proxy.statistics().connections_open == 2)
    assert proxy.statistics().http2_streams_open == 0


async def test_preface_in_pieces_is_understood(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    for octet in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
        await client.send(bytes((octet,)))
        await asyncio.sleep(0)
    await client.send(b"\0\0\0\4\0\0\0\0\0")

    async with asyncio.timeout(LONG):
        assert (await client.reader.readexactly(9))[3] == 4  # SETTINGS


async def test_preface_after_a_request_is_refused(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    assert (await client.ask(get())).status == 200

    assert (await client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).status in (400, 505)
    assert await client.is_closed()


async def test_switched_off_it_is_neither_offered_nor_understood(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), tls=True, http2=False)
    secure = await stage.connect(proxy, listener=1, tls=trusting("h2", "http/1.1"))
    assert secure.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    plain = await stage.connect(proxy)

    assert (await plain.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).status in (400, 505)


@pytest.mark.parametrize("declared", [True, False], ids=["with a length", "without a length"])
async def test_small_body_reaches_the_endpoint_with_its_length(stage: Stage, declared: bool) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    fields = [("content-length", "5")] if declared else []
    async with http2(proxy) as client:
        response = await client.ask(host=HOST, method="POST", body=b"12345", fields=fields)

    assert response.status == 200
    assert endpoint.seen[0].body == b"12345"


async def test_large_bodies_pass_both_ways(stage: Stage) -> None:
    async def echo(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(request.body))

    endpoint = await stage.endpoint(echo)
    proxy = await stage.proxy(forward(endpoint.port))
    body = bytes(range(256)) * 12_000
    async with http2(proxy) as client:
        response = await client.ask(host=HOST, method="POST", body=body)

    assert response.status == 200
    assert response.body == body


async def test_streams_are_served_at_the_same_time(stage: Stage) -> None:
    waiting: list[asyncio.StreamWriter] = []

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        streams = [client.open(request_fields(f"/{index}", host=HOST)) for index in range(50)]
        await until(lambda: len(waiting) == 50)
        assert proxy.statistics().http2_streams_open == 50
        for writer in reversed(waiting):
            writer.write(reply(b"x"))
        responses = [await client.response(stream) for stream in streams]

    assert [response.status for response in responses] == [200] * 50
    assert endpoint.connections == 50


async def test_cookie_crumbs_are_one_field(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        await client.ask(host=HOST, fields=[("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3")])

    assert endpoint.seen[0].values("cookie") == ["a=1; c=3"]


async def test_head_has_no_body(stage: Stage) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        response = await client.ask(host=HOST, method="HEAD")
        missing = await client.ask("/a//%zz", host=HOST, method="HEAD")

    assert (response.status, response.body, response.value("content-length")) == (200, b"", "99")
    assert (missing.status, missing.body) == (400, b"")


async def test_chunked_response_and_its_trailers_pass(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 1\r\n\r\n"
    )
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        response = await client.ask(host=HOST)

    assert response.body == b"abc"
    assert response.trailers == [(b"x-sum", b"7")]
    assert response.value("transfer-encoding") is None
    assert response.value("content-length") is None


async def test_trailers_of_a_request_end_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        stream = client.open(request_fields(host=HOST, method="POST"), last=False)
        client.send(stream, b"abc")
        client.send_trailers(stream, [(b"x-sum", b"7")])
        response = await client.response(stream)

    assert response.status == 200
    assert endpoint.seen[0].body == b"abc"


async def test_early_hints_come_before_the_response(stage: Stage) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + reply(b"x"))
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        response = await client.ask(host=HOST)

    (hints,) = response.interim
    assert (b":status", b"103") in hints
    assert (b"link", b"</a.css>") in hints
    assert response.body == b"x"


async def test_expectation_is_passed_on(stage: Stage) -> None:
    async def expect(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert request.value("expect") == "100-continue"
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(reply(await reader.readexactly(4)))

    endpoint = await stage.endpoint(expect, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    fields = [("expect", "100-continue"), ("content-length", "4")]
    async with http2(proxy) as client:
        stream = client.open(request_fields(host=HOST, method="POST", fields=fields), last=False)
        await until(lambda: bool(client.responses[stream].interim))
        client.send(stream, b"body", last=True)
        response = await client.response(stream)

    assert response.body == b"body"


async def test_response_before_the_end_of_the_request_ends_the_stream_without_error(stage: Stage) -> None:
    async def refuse(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"enough", status="403 Forbidden"))

    endpoint = await stage.endpoint(refuse, read_bodies=False)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        stream = client.open(request_fields(host=HOST, method="POST"), last=False)
        client.send(stream, b"a")
        response = await client.response(stream)
        assert (response.status, response.body) == (403, b"enough")
        assert await client.ended(stream) == 0
        assert (await client.ask(host=HOST, method="GET")).status == 403


async def test_refused_upload_costs_its_stream_only(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[BodyLimit(max_bytes=1000)]))
    async with http2(proxy) as client:
        refused = await client.ask(host=HOST, method="POST", body=bytes(5000))
        assert refused.status == 413
        assert (await client.ask(host=HOST)).status == 200
    assert len(endpoint.seen) == 1


async def test_response_that_breaks_off_resets_its_stream(stage: Stage) -> None:
    async def tear(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.line.startswith(b"GET /torn"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            writer.close()
        else:
            writer.write(reply())

    endpoint = await stage.endpoint(tear)
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        torn = await client.ask("/torn", host=HOST)
        assert torn.body == b"abc"
        assert not torn.complete
        assert torn.code not in (0, None)
        assert (await client.ask("/whole", host=HOST)).status == 200


async def test_reset_of_the_client_ends_the_request_to_the_endpoint(stage: Stage) -> None:
    gone = asyncio.Event()

    async def wait(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        gone.set()

    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    async with http2(proxy) as client:
        stream = client.open(request_fields(host=HOST))
        await until(lambda: len(endpoint.seen) == 1)
        client.reset(stream)
        await gone.wait()
        assert not client.is_over

    assert records[0].status == 499


async def test_local_replies_have_status_body_and_record(stage: Stage) -> None:
    records: list[AccessRecord] = []
    table = make_table(make_target(Redirect(status=301, location="https://a.test/x"), host="a.test"))
    proxy = await stage.proxy(table, access_log=records.append)
    async with http2(proxy) as client:
        missing = await client.ask("/x", host="nobody.test")
        moved = await client.ask("/x", host="a.test", method="POST", body=b"a")

    assert missing.status == 404
    assert missing.body
    assert missing.value("content-length") == str(len(missing.body))
    assert missing.value("date")
    assert missing.value("connection") is None
    assert moved.status == 301
    assert moved.value("location") == "https://a.test/x"
    assert [record.protocol for record in records] == ["HTTP/2.0", "HTTP/2.0"]
    assert [record.status for record in records] == [404, 301]


async def test_access_log_names_the_protocol(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    async with http2(proxy) as client:
        await client.ask(host=HOST)
    old = await stage.connect(proxy)
    await old.ask(get())

    assert [record.protocol for record in records] == ["HTTP/2.0", "HTTP/1.1"]


async def test_fields_of_a_connection_do_not_reach_the_client(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        reply(fields=["Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: a=1"])
    )
    proxy = await stage.proxy(forward(endpoint.port))
    async with http2(proxy) as client:
        response = await client.ask(host=HOST)

    assert {name for name, _ in response.fields} == {b"content-length"}


async def test_proxy_header_before_the_preface_names_the_client(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    networks = ipaddress.ip_network("127.0.0.0/8")
    proxy = await stage.proxy(forward(endpoint.port), proxy_protocol=True, trusted_proxies=(networks,))
    wire = await stage.connect(proxy)
    await wire.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 80\r\n")

    client = Http2Client(wire.reader, wire.writer)
    client.flush()
    task = asyncio.create_task(client._read())
    async with asyncio.timeout(LONG):
        response = await client.ask(host=HOST)
    task.cancel()

    assert response.status == 200
    assert endpoint.seen[0].value("x-forwarded-for") == "192.0.2.7"
