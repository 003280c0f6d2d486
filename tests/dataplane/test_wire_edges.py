"""Whatever the proxy: interim responses, stale connections, and request lines at the edge of the protocol."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import Answer, Seen, Wire, get, read_head

pytestmark = pytest.mark.anyio

FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Powered-By: me\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\ndone"
INTERIM = {
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "100 that nobody asked for": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103 twice": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2,
}


async def final(wire: Wire, request: bytes) -> Answer:
    """The response after those with 1xx."""
    await wire.send(request)
    async with asyncio.timeout(LONG):
        while True:
            answer = Answer(await read_head(wire.reader))
            if answer.status >= 200:
                answer.body = await wire.reader.readexactly(int(answer.value("content-length") or 0))
                return answer


@pytest.mark.parametrize("name", INTERIM)
async def test_final_response_follows_interim_ones_as_the_route_says(stage: Stage, name: str) -> None:
    async def respond(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INTERIM[name])
        await writer.drain()
        await asyncio.sleep(0)  # a segment of its own where the system sends one
        writer.write(FINAL)
        await writer.drain()

    endpoint = await stage.endpoint(respond)
    await stage.serve(
        endpoint,
        annotations={"response-headers-set": "X-New: yes", "response-headers-remove": "X-Powered-By"},
    )
    answers = [await final(await stage.connect(), get()) for _ in range(8)]

    assert [answer.status for answer in answers] == [200] * 8
    assert {answer.body for answer in answers} == {b"done"}
    if stage.plane.name == "nginx-static":
        return  # what follows an interim response passes as it is
    # A worker of nginx edits the second response of a backend that sends them, and there are two.
    edited = [answer for answer in answers if answer.value("x-new") == "yes"]
    assert len(edited) >= (6 if stage.plane.name == "nginx-dynamic" else 8)
    assert {answer.value("x-powered-by") for answer in edited} == {None}
    if stage.plane.name != "haproxy":  # which cannot remove fields by names that it learns
        assert {answer.value("x-hop") for answer in edited} == {None}


async def test_safe_request_outlives_any_number_of_stale_connections(stage: Stage) -> None:
    """The endpoint closes each connection when its second request comes, without a response."""
    served: set[asyncio.StreamWriter] = set()
    together = asyncio.Barrier(6)

    async def respond(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer in served:
            writer.close()
            return
        served.add(writer)
        if len(served) <= 6:  # all at once, so that each gets a connection of its own
            await together.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    endpoint = await stage.endpoint(respond)
    await stage.serve(endpoint)
    clients = [await stage.connect() for _ in range(6)]

    first = await asyncio.gather(*(client.ask(get()) for client in clients))
    later = [await client.ask(get()) for client in clients for _ in range(2)]

    assert [answer.status for answer in (*first, *later)] == [200] * 18


@pytest.mark.parametrize("target", ["x://other.example/", "ftp://web.example/", "https://web.example:81/"])
async def test_absolute_target_of_another_scheme_or_authority_is_refused(stage: Stage, target: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)

    answer = await (await stage.connect()).ask(get(target))

    assert answer.status == 400
    assert endpoint.seen == []


@pytest.mark.parametrize("version", ["HTTP/1.2", "HTTP/1.7"])
async def test_unknown_version_is_refused_before_an_endpoint_hears_of_it(stage: Stage, version: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    request = get().replace(b"HTTP/1.1", version.encode())

    answer = await (await stage.connect()).ask(request)

    assert answer.status == 505
    assert endpoint.seen == []


async def test_options_of_the_server_in_general_is_answered_by_the_proxy(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)

    answer = await (await stage.connect()).ask(get("*", method="OPTIONS"))

    assert answer.status == 200
    assert endpoint.seen == []


@pytest.mark.parametrize("target", ["http://web.example", "HTTP://web.example"])
async def test_options_of_a_url_without_a_path_is_answered_by_the_proxy(stage: Stage, target: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(target, method="OPTIONS"))
    after = await client.ask(get())

    assert (answer.status, after.status) == (200, 200)
    assert [request.line for request in endpoint.seen] == [b"GET / HTTP/1.1"]


@pytest.mark.parametrize("target", ["*", "*/", "http://web.example*"])
async def test_other_methods_of_the_server_in_general_are_refused(stage: Stage, target: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)

    answer = await (await stage.connect()).ask(get(target))

    assert answer.status == 400
    assert endpoint.seen == []


@pytest.mark.parametrize("method", ["VERSION-CONTROL", "BAN", "PROPFIND"])
async def test_methods_that_nobody_registered_reach_the_endpoint(stage: Stage, method: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)

    answer = await (await stage.connect()).ask(get(method=method))

    assert answer.status == 200
    assert len(endpoint.seen) == 1
