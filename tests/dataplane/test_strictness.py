"""Whatever the proxy: what two parsers could read in two ways never becomes two requests.

`tests/unit/proxy` asks more of the in-process proxy, which refuses all of it. Of any proxy it is asked
that framing which is in doubt is refused, and that anything else in doubt is either refused or sent on
in a form that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing import pace
from ingresskit.testing.planes import Plane
from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import FakeEndpoint, Wire, get
from tests.unit.proxy.test_strictness import BAD_BODIES, CHUNKED, REFUSED, post

pytestmark = pytest.mark.anyio

FRAMING = (
    "two lengths",
    "signed length",
    "negative length",
    "hexadecimal length",
    "length with an underscore",
    "length with a fraction",
    "length beyond all bounds",
    "quoted coding",
    "coding with a vertical tab",
    "coding misspelled",
    "space before the colon",
    "bare CR in a value",
    "space in a name",
    "target with a NUL",
    "target with a tab",
    "folded first field",
    "empty name",
)
"""What every proxy refuses, and the connection with it: where the request ends is in doubt."""

TARGETS = (
    "no host",
    "two hosts",
    "empty host",
    "host with a comma",
    "host with a path",
    "host with a user",
    "host with a space",
    "host with a wrong port",
    "absolute target of another host",
    "absolute target with another port",
    "absolute target of another scheme",
    "version 1.2",
    "version with more digits",
    "CONNECT",
    "TRACE",
    "target with a fragment",
    "path with an escaped NUL",
    "path above the root",
    "path with a hidden parent",
    "path with a wrong escape",
)
"""What every proxy refuses: its end is clear, but not whom it is for. The next request may be served."""


@pytest.fixture(scope="module")
async def lasting(plane: Plane) -> AsyncGenerator[FakeEndpoint]:
    """An endpoint that is served for all tests of this file: a proxy that reloads does so once."""
    async with Stage(plane) as stage:
        made = await stage.endpoint(take_trailers=True)
        await stage.serve(made)
        yield made


@pytest.fixture
def endpoint(lasting: FakeEndpoint) -> FakeEndpoint:
    lasting.seen.clear()
    return lasting


async def everything(client: Wire) -> bytes:
    """All that comes back, until the proxy ends the connection or has nothing more to say."""
    received = b""
    try:
        async with asyncio.timeout(pace.within(1)):
            while data := await client.reader.read(1 << 16):
                received += data
    except (TimeoutError, ConnectionError):
        pass
    return received


def targets(endpoint: FakeEndpoint) -> list[bytes]:
    return [seen.line.split(b" ")[1] for seen in endpoint.seen]


@pytest.mark.parametrize("name", FRAMING)
async def test_doubtful_framing_is_refused_and_the_connection_ends(
    stage: Stage, endpoint: FakeEndpoint, name: str
) -> None:
    client = await stage.connect()

    answer = await client.ask(REFUSED[name][1] + get("/smuggled"))

    assert answer.status in (400, 501)
    assert await client.is_closed()
    assert endpoint.seen == []


@pytest.mark.parametrize("name", TARGETS)
async def test_doubtful_target_is_refused(stage: Stage, endpoint: FakeEndpoint, name: str) -> None:
    client = await stage.connect()

    answer = await client.ask(REFUSED[name][1] + get("/next", fields=["Connection: close"]))
    await everything(client)

    assert answer.status in (400, 405, 505)
    assert targets(endpoint) in ([], [b"/next"])


@pytest.mark.parametrize("name", sorted(set(REFUSED) - set(FRAMING) - set(TARGETS)))
async def test_what_else_is_doubtful_becomes_one_request_at_most(
    stage: Stage, endpoint: FakeEndpoint, name: str
) -> None:
    client = await stage.connect()

    await client.send(REFUSED[name][1] + get("/next", fields=["Connection: close"]))
    answers = (await everything(client)).count(b"HTTP/1.1 ")

    # The endpoint's own parser takes exact framing only: what it has seen, it has seen without doubt.
    assert answers <= 2
    assert targets(endpoint)[1:] in ([], [b"/next"])
    for seen in endpoint.seen:
        assert len(seen.values("host")) == 1
        assert not (seen.values("content-length") and seen.values("transfer-encoding"))
        assert b"\n" not in seen.head.replace(b"\r\n", b"")
        assert b"\r" not in seen.head.replace(b"\r\n", b"")


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_doubtful_chunks_never_become_a_second_request(
    stage: Stage, endpoint: FakeEndpoint, name: str
) -> None:
    client = await stage.connect()

    await client.send(post(CHUNKED, body=BAD_BODIES[name]) + get("/smuggled", fields=["Connection: close"]))
    await everything(client)

    for seen in endpoint.seen:
        assert seen.line.startswith((b"POST / ", b"GET /smuggled "))
    # A body that is read as something else than it says would leave the rest of it behind as a request.
    assert b"/admin" not in b"".join(targets(endpoint))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(get(), id="request without a body"),
        pytest.param(post(b"Content-Length: 3", body=b"abc"), id="request with a length"),
        pytest.param(post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), id="request in chunks"),
        pytest.param(get("/", host="Web.Example.:80"), id="host in another spelling, with a port"),
        pytest.param(get("/", fields=["X-Empty:", "X:y", "X:  y \t"]), id="fields with and without spaces"),
        pytest.param(get("/?a=%00&b=/../c"), id="query that a path could not be"),
    ],
)
async def test_what_follows_a_good_request_is_the_next_one(
    stage: Stage, endpoint: FakeEndpoint, first: bytes
) -> None:
    client = await stage.connect()

    await client.send(first + get("/next"))

    async with asyncio.timeout(LONG):
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200
    assert targets(endpoint)[1] == b"/next"


async def test_answers_of_the_proxy_itself_are_small_and_say_nothing(stage: Stage) -> None:
    await stage.serve(path="/app")
    bodies: dict[int, bytes] = {}

    for status, request in ((400, get("/%00")), (404, get("/other")), (503, get("/app"))):
        client = await stage.connect()
        answer = await client.ask(request)
        assert answer.status == status
        assert (answer.value("content-type") or "").startswith("text/plain")
        bodies[status] = answer.body

    for body in bodies.values():
        assert 0 < len(body) < 200
        for secret in (b"nginx", b"HAProxy", b"haproxy", b"default", b"127.0.0.1", b"<html"):
            assert secret not in body
