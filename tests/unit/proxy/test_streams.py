"""Connections that the in-process proxy passes on: what is bounded, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from ingresskit.graph import Termination
from ingresskit.models import Snapshot
from ingresskit.proxy.access import AccessRecord
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing import ingress_class
from ingresskit.translate import translate
from tests.dataplane.passed import PASSED, client_hello, passed_host, tls_endpoint
from tests.dataplane.stage import OPTIONS
from tests.unit.proxy.conftest import LONG, Stage, until

pytestmark = pytest.mark.anyio


def _table(*ports: int, **annotations: str) -> RoutingTable:
    objects = [ingress_class(), *passed_host(*ports, created=1, **annotations)]
    return InProcessRenderer().render(translate(Snapshot.of(objects), OPTIONS).graph)


async def _ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the proxy ends the connection."""
    async with asyncio.timeout(LONG):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def test_client_that_does_not_finish_its_first_message_is_closed(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True, handshake_timeout=timedelta(milliseconds=200))
        hello = client_hello(PASSED)
        for part in (b"", hello[:1], hello[:-1]):
            client = await stage.connect(proxy, listener=1)
            await client.send(part)
            assert await _ended(client.reader) == b""
        assert raw.connections == 0


async def test_client_that_drips_its_first_message_has_the_same_time_for_all_of_it(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True, handshake_timeout=timedelta(milliseconds=300))
        client = await stage.connect(proxy, listener=1)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for octet in client_hello(PASSED):
                    await client.send(bytes([octet]))
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await _ended(client.reader) == b""
        dripping.cancel()
        assert raw.connections == 0


async def test_first_message_without_an_end_is_closed_at_its_bound(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True)
        client = await stage.connect(proxy, listener=1)
        crumbs = b"\x16\x03\x01\x00\x04\x01\x00\xff\x00" + b"\x16\x03\x01\x00\x01\x00" * 20000
        with contextlib.suppress(ConnectionError):
            await client.send(crumbs)

        assert await _ended(client.reader) == b""
        assert raw.connections == 0


async def test_too_many_that_have_not_said_a_name_push_out_the_one_that_waits_longest(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True, max_handshakes=3)
        waiting = [await stage.connect(proxy, listener=1) for _ in range(4)]

        assert await _ended(waiting[0].reader) == b""
        hello = client_hello(PASSED)
        await waiting[3].send(hello)
        async with asyncio.timeout(LONG):
            assert await waiting[3].reader.readexactly(len(hello)) == hello


async def test_silence_in_both_directions_ends_a_connection(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port, read_timeout="300ms"), tls=True)
        client = await stage.connect(proxy, listener=1)
        hello = client_hello(PASSED)
        await client.send(hello)

        assert await _ended(client.reader) == hello
        await until(lambda: raw.open == 0)


async def test_connections_are_counted_and_logged_and_memory_is_given_back(stage: Stage) -> None:
    records: list[AccessRecord] = []
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True, access_log=records.append)
        client = await stage.connect(proxy, listener=1)
        hello = client_hello(PASSED)
        await client.send(hello)
        async with asyncio.timeout(LONG):
            await client.reader.readexactly(len(hello))
        found = proxy.statistics()
        assert (found.connections_open, found.tunnels_open) == (1, 1)
        assert [item.active for item in found.backends.values()] == [1]

        client.writer.write_eof()
        assert await _ended(client.reader) == b"raw"
        await until(lambda: proxy.statistics().connections_open == 0)
        found = proxy.statistics()
        assert found.tunnels_open == 0
        assert [(item.requests, item.active) for item in found.backends.values()] == [(1, 0)]
        assert (found.received_bytes, found.sent_bytes) == (len(hello), len(hello) + 3)
        (record,) = records
        assert (record.host, record.rule_host, record.status) == (PASSED, PASSED, 200)
        assert record.endpoint == f"127.0.0.1:{raw.port}"


async def test_reasons_for_a_connection_that_goes_nowhere_are_counted(stage: Stage) -> None:
    port = await stage.closed_port()
    for table, reason in (
        (_table(port), Termination.UPSTREAM_REFUSED),
        (_table(), Termination.NO_ENDPOINT),
        (_table(port, deny_sources="127.0.0.0/8"), Termination.DENIED),
        (_table(port, rate_limit="5/s"), Termination.UNAVAILABLE),
    ):
        proxy = await stage.proxy(table, tls=True)
        client = await stage.connect(proxy, listener=1)
        await client.send(client_hello(PASSED))

        assert await _ended(client.reader) == b""
        assert proxy.statistics().terminations == {reason: 1}


async def test_proxy_that_closes_cuts_connections_and_leaves_nothing(stage: Stage) -> None:
    async with tls_endpoint("raw", raw=True) as raw:
        proxy = await stage.proxy(_table(raw.port), tls=True)
        client = await stage.connect(proxy, listener=1)
        hello = client_hello(PASSED)
        await client.send(hello)
        async with asyncio.timeout(LONG):
            await client.reader.readexactly(len(hello))
        await proxy.drain(timedelta(milliseconds=50))

        assert await _ended(client.reader) == b""
        await until(lambda: raw.open == 0)
        assert proxy.statistics().connections_open == 0
