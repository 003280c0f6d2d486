from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.abc
import pytest

from ingresskit.controller.admin import AdminSettings
from ingresskit.testing import pace
from tests.unit.controller.client import Admin, admin_over
from tests.unit.controller.doubles import QUICK, ingress, wait_until, web

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_thousand_idle_clients_delay_neither_answers_nor_changes() -> None:
    async with admin_over(ingress("shop", "shop.test"), *web()) as admin:
        idle = [await anyio.connect_tcp(*admin.address) for _ in range(1000)]
        await wait_until(lambda: admin.server.connections <= 64)
        reply = await admin.get("/readyz")
        admin.source.apply(ingress("blog", "blog.test"))
        await admin.live()
        held = admin.server.connections
        for stream in idle:
            await anyio.aclose_forcefully(stream)

    assert reply.status == 200
    assert held <= 64


async def test_a_client_in_the_middle_of_an_answer_is_never_ended_for_a_new_one() -> None:
    settings = AdminSettings(max_connections=2, max_streams=1)
    async with admin_over(settings=settings) as admin, await anyio.connect_tcp(*admin.address) as stream:
        await _open_events(stream)
        for _ in range(10):
            async with await anyio.connect_tcp(*admin.address):
                pass
        assert (await admin.get("/healthz")).status == 200
        admin.source.apply(ingress("blog", "blog.test"))
        await _read_until(stream, b"event: apply")


async def test_when_nobody_is_idle_a_new_client_is_closed_at_once() -> None:
    settings = AdminSettings(max_connections=1, max_streams=1)
    async with admin_over(settings=settings) as admin, await anyio.connect_tcp(*admin.address) as stream:
        await _open_events(stream)
        async with await anyio.connect_tcp(*admin.address) as refused:
            assert await _ended(refused)


async def test_a_head_that_never_ends_is_cut_off() -> None:
    settings = AdminSettings(head_timeout=timedelta(milliseconds=50))
    async with admin_over(settings=settings) as admin, await anyio.connect_tcp(*admin.address) as stream:
        await stream.send(b"GET /healthz HTTP/1.1\r\nHost: lo")

        assert await _ended(stream)


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    objects = [ingress(f"i{number}", f"host-{number:04}.test") for number in range(3000)]
    settings = AdminSettings(write_timeout=timedelta(milliseconds=100))
    async with (
        admin_over(*objects, *web(), settings=settings) as admin,
        await anyio.connect_tcp(*admin.address) as stream,
    ):
        request = b"GET /api/graph HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await stream.send(request * 12)  # far more than the buffers of two sockets hold
        await wait_until(lambda: admin.server.connections == 0)


async def test_a_slow_reader_of_events_loses_the_oldest_and_the_loop_goes_on() -> None:
    settings = replace(QUICK, event_buffer=2)
    async with admin_over(controller_settings=settings) as admin:
        with admin.controller.subscribe() as events:
            for number in range(5):
                admin.source.apply(ingress(f"i{number}", f"h{number}.test"))
                await admin.live()
            dropped = events.take_dropped()

    assert dropped > 0
    assert admin.controller.statistics().events_dropped == dropped


async def test_stopping_the_server_ends_every_connection() -> None:
    async with admin_over() as admin:
        streams = [await anyio.connect_tcp(*admin.address) for _ in range(5)]
        await _open_events(streams[0])

    with anyio.fail_after(pace.within(5)):
        for stream in streams:
            assert await _ended(stream)
            await stream.aclose()
    assert admin.server.connections == 0
    assert admin.server.address is None


async def test_a_fault_of_the_server_is_500_and_says_nothing_of_its_inside(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Admin) -> None:
        raise RuntimeError("inner secret")

    async with admin_over() as admin:
        monkeypatch.setattr(type(admin.controller), "object_counts", broken)
        reply = await admin.get("/api/status")
        after = await admin.get("/healthz")

    assert reply.status == 500
    assert b"inner" not in reply.body
    assert after.status == 200
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def _open_events(stream: anyio.abc.SocketStream) -> None:
    await stream.send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await _read_until(stream, b"event: hello")


async def _read_until(stream: anyio.abc.SocketStream, text: bytes) -> None:
    received = b""
    while text not in received:
        received += await stream.receive()


async def _ended(stream: anyio.abc.SocketStream) -> bool:
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True
