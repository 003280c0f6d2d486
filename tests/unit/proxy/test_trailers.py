"""Trailers of responses reach clients that understand them, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from ingresskit.policies import Policy, ResponseHeaders
from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
BODY = b"2\r\nok\r\n"
TAKES = ("TE: trailers", "Connection: TE")


def ended_by(*trailers: str) -> bytes:
    return HEAD + BODY + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


async def received(stage: Stage, response: bytes, *fields: str, policies: Iterable[Policy] = ()) -> bytes:
    """All that a client gets for one request, from its body on."""
    endpoint = await stage.endpoint(response)
    proxy = await stage.proxy(forward(endpoint.port, policies=policies))
    client = await stage.connect(proxy)
    await client.send(get(fields=[*fields]) + get("/next", fields=["Connection: close"]))
    return (await client.rest()).partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0]


async def test_trailers_of_a_response_reach_a_client_that_takes_them(stage: Stage) -> None:
    whole = await received(stage, ended_by("X-Sum: 7", "grpc-status: 0"), *TAKES)

    assert whole == BODY + b"0\r\nX-Sum: 7\r\ngrpc-status: 0\r\n\r\n"


async def test_trailers_that_come_after_the_body_reach_it_too(stage: Stage) -> None:
    async def in_pieces(_request: object, _reader: object, writer: asyncio.StreamWriter) -> None:
        for piece in (HEAD + BODY, b"0\r\nX-S", b"um: 7\r\n", b"\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    endpoint = await stage.endpoint(in_pieces)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get(fields=[*TAKES]))

    assert await client.reader.readuntil(b"0\r\nX-Sum: 7\r\n\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((), id="nothing"),
        pytest.param(("TE: gzip", "Connection: TE"), id="another transfer coding"),
    ],
)
async def test_client_that_does_not_say_so_gets_no_trailers(stage: Stage, fields: tuple[str, ...]) -> None:
    whole = await received(stage, ended_by("X-Sum: 7"), *fields)

    assert whole == BODY + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Set-Cookie: a=b",
        "Location: https://evil.example/",
        "Content-Type: text/html",
        "Cache-Control: public",
        "Access-Control-Allow-Origin: *",
        "WWW-Authenticate: Basic",
        "X-Forwarded-For: 192.0.2.1",
        "X_Sum: 1",
    ],
)
async def test_trailer_that_somebody_decides_by_is_dropped(stage: Stage, line: str) -> None:
    whole = await received(stage, ended_by(line, "X-Sum: 7"), *TAKES)

    assert whole == BODY + b"0\r\nX-Sum: 7\r\n\r\n"


async def test_field_that_the_route_removes_is_no_trailer_either(stage: Stage) -> None:
    policy = ResponseHeaders(remove=("x-secret",))

    whole = await received(stage, ended_by("X-Secret: 1", "X-Sum: 7"), *TAKES, policies=[policy])

    assert whole == BODY + b"0\r\nX-Sum: 7\r\n\r\n"


async def test_response_after_one_with_trailers_uses_the_same_connection(stage: Stage) -> None:
    endpoint = await stage.endpoint(ended_by("X-Sum: 7"))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    for _ in range(2):
        await client.send(get(fields=[*TAKES]))
        await client.reader.readuntil(b"X-Sum: 7\r\n\r\n")

    assert endpoint.connections == 1
