"""Whatever the proxy: how long an endpoint may take nothing of a request, and how long it may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.stage import HOST, Stage
from tests.unit.proxy.conftest import Seen, get, reply

pytestmark = pytest.mark.anyio

QUICK_TO_SEND = {"send-timeout": "1s", "read-timeout": "1h"}


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


async def never_reads(_: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the head of a request, and nothing of its body."""
    writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport of a socket reads too
    await asyncio.Event().wait()


async def thinks(_: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond later than the time-out to send: the test needs a silence that is longer, not a pace."""
    await asyncio.sleep(1.5)
    writer.write(reply(b"at last"))


async def test_endpoint_that_takes_nothing_of_a_long_body_is_given_up(stage: Stage) -> None:
    endpoint = await stage.endpoint(never_reads, read_bodies=False)
    await stage.serve(endpoint, annotations=QUICK_TO_SEND)
    wire = await stage.connect()
    size = 64 << 20

    # More than the buffers of all on the way take. The proxy may end the connection while it is sent.
    head = f"PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n".encode()
    wire.writer.write(head)

    async def upload() -> None:
        for _ in range(size >> 16):
            wire.writer.write(bytes(1 << 16))
            await wire.writer.drain()

    sending = asyncio.create_task(upload())
    try:
        answer = await wire.answer(head_only=True)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    assert answer.status == 504


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param((), b"", id="no body"),
        pytest.param(("Content-Length: 4000",), bytes(4000), id="a short body"),
        pytest.param(("Content-Length: 400000",), bytes(400_000), id="a long body"),
        pytest.param(("Transfer-Encoding: chunked",), b"4\r\nbody\r\n0\r\n\r\n", id="a body of unknown length"),
    ],
)
async def test_endpoint_that_took_all_may_think_for_longer(
    stage: Stage, fields: tuple[str, ...], body: bytes
) -> None:
    endpoint = await stage.endpoint(thinks)
    await stage.serve(endpoint, annotations=QUICK_TO_SEND)
    wire = await stage.connect()

    answer = await wire.ask(get(fields=fields, method="PUT" if fields else "GET") + body)

    assert (answer.status, answer.body) == (200, b"at last")
