"""Traffic counts what fails, and a change that is not live is told from one that is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ingresskit.testing.planes import PlaneSettings
from ingresskit.testing.traffic import (
    TrafficReport,
    TrafficScript,
    TrafficSettings,
    open_endpoints,
    open_traffic,
)
from tests.dataplane.planes import open_inprocess

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _closes_after_its_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a proxy does that cuts idle connections at a reload: after the answer, without a word before it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _answers_503(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


async def _says_that_it_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1")
    writer.close()


async def _ends_tunnels(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    writer.write(await reader.read(100))
    writer.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _seen_of(serve: Serve, *, busy: int = 0, thinkers: int = 0, tunnels: int = 0) -> TrafficReport:
    """The report of clients that ask a server for half a second."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    settings = TrafficSettings(
        http=server.sockets[0].getsockname(),
        hosts=("a.test",),
        think=0.05,
        busy=busy,
        thinkers=thinkers,
        tunnels=tunnels,
    )
    async with server, open_traffic(settings) as traffic:
        await asyncio.sleep(0.5)
        return await traffic.stop()


async def test_good_endpoints_give_a_good_report() -> None:
    async with open_endpoints(2) as endpoints:
        settings = TrafficSettings(http=("127.0.0.1", endpoints.ports[0]), hosts=("a.test",), think=0.05)
        async with open_traffic(settings) as traffic:
            await asyncio.sleep(0.5)
            report = await traffic.stop()

    assert report.faults() == ()
    assert report.requests > settings.busy + settings.thinkers + settings.tunnels
    assert report.messages > settings.tunnels
    assert report.endpoints == endpoints.ports[:1]
    assert report.reconnects == 0


@pytest.mark.parametrize(("busy", "thinkers"), [(3, 0), (0, 3)], ids=["busy clients", "thinkers"])
async def test_request_on_a_connection_that_is_closed_without_a_word_has_failed(
    busy: int, thinkers: int
) -> None:
    report = await _seen_of(_closes_after_its_answer, busy=busy, thinkers=thinkers)

    assert report.failed
    assert "a kept connection" in report.failures[0]


async def test_other_answers_than_200_have_failed() -> None:
    report = await _seen_of(_answers_503, busy=2)

    assert report.failed == report.requests
    assert "503" in report.failures[0]


async def test_connection_that_is_closed_as_announced_is_no_failure() -> None:
    report = await _seen_of(_says_that_it_closes, busy=2, thinkers=2)

    assert report.faults() == ()
    assert report.reconnects


async def test_tunnel_that_ends_is_counted() -> None:
    report = await _seen_of(_ends_tunnels, tunnels=2)

    assert report.tunnels_broken
    assert any("tunnels were cut" in fault for fault in report.faults())


def test_nothing_asked_is_no_success() -> None:
    assert TrafficReport().faults() == ("nothing was asked",)


async def test_changes_that_are_not_live_are_found(tmp_path: Path) -> None:
    unlike = 0
    async with open_endpoints(8) as endpoints, open_inprocess(PlaneSettings(state_dir=tmp_path)) as plane:
        changes = TrafficScript(endpoints.ports)
        await plane.serve(changes.first())
        for change in changes.take(40):
            unlike += bool(await change.faults(http=plane.http, https=plane.https))
            await plane.serve(change.graph)

            assert await change.faults(http=plane.http, https=plane.https) == ()

    assert unlike > 15


def test_the_same_seed_makes_the_same_changes() -> None:
    one, other = ([change.what for change in TrafficScript((1, 2, 3, 4), seed=7).take(50)] for _ in range(2))

    assert one == other
    assert len(set(one)) > 20
