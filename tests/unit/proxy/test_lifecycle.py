"""Tables are swapped under load, and the proxy stops politely."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.proxy import AccessRecord, Proxy, ProxySettings
from ingresskit.render.inprocess import RoutingTable
from tests.unit.proxy.conftest import LONG, Seen, Stage, forward, get, reply, until

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def blocked_port() -> Generator[int]:
    """A port that neither takes nor refuses connections: its queue is full."""
    with contextlib.ExitStack() as stack:
        blocked = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = blocked.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


async def test_hundred_swaps_under_load_drop_nothing(stage: Stage) -> None:
    first, second = await stage.endpoint(reply(b"1")), await stage.endpoint(reply(b"2"))
    tables = [forward(first.port), forward(second.port), forward(first.port, second.port)]
    proxy = await stage.proxy(tables[0])
    clients = [await stage.connect(proxy) for _ in range(8)]
    stop = False
    counts: list[int] = []

    async def load(number: int) -> None:
        done = 0
        while not stop:
            assert (await clients[number].ask(get())).status == 200
            done += 1
        counts.append(done)

    async with asyncio.TaskGroup() as group:
        for number in range(len(clients)):
            group.create_task(load(number))
        for number in range(100):
            proxy.swap(tables[number % 3])
            before = proxy.statistics().requests_by_class.get(2, 0)
            await until(lambda before=before: proxy.statistics().requests_by_class.get(2, 0) > before)  # type: ignore[misc]
        stop = True

    statistics = proxy.statistics()
    assert statistics.connections_total == len(clients)
    assert statistics.requests_by_class == {2: sum(counts)}


async def test_swap_is_live_for_the_next_request_of_a_connection(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(RoutingTable())
    client = await stage.connect(proxy)

    before = (await client.ask(get())).status
    proxy.swap(forward(endpoint.port))
    after = (await client.ask(get())).status
    proxy.swap(RoutingTable())
    last = (await client.ask(get())).status

    assert (before, after, last) == (404, 200, 404)


async def test_swap_is_live_for_a_route_that_stays_while_its_backend_changes(stage: Stage) -> None:
    old, new = await stage.endpoint(reply(b"old")), await stage.endpoint(reply(b"new"))
    table = forward(old.port)
    proxy = await stage.proxy(table)
    client = await stage.connect(proxy)

    before = (await client.ask(get())).body
    proxy.swap(replace(table, backends=forward(new.port).backends))
    after = (await client.ask(get())).body
    proxy.swap(replace(table, backends={}))
    last = (await client.ask(get())).status

    assert (before, after, last) == (b"old", b"new", 503)


async def test_idle_connections_to_endpoints_that_are_gone_are_closed(stage: Stage) -> None:
    old, new = await stage.endpoint(), await stage.endpoint()
    proxy = await stage.proxy(forward(old.port))
    client = await stage.connect(proxy)
    await client.ask(get())

    proxy.swap(forward(new.port))
    await client.ask(get())

    await until(lambda: proxy.statistics().upstream_open == 1)
    assert (len(old.seen), len(new.seen)) == (1, 1)


async def test_request_under_way_is_finished_with_the_table_it_began_with(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply())

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    proxy.swap(RoutingTable())
    go_on.set()

    assert (await client.answer()).status == 200


async def test_drain_closes_idle_connections_and_finishes_requests(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply(b"done"))

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    address = proxy.listeners[0].address
    idle, busy = await stage.connect(proxy), await stage.connect(proxy)
    await busy.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    draining = asyncio.ensure_future(proxy.drain(timedelta(seconds=30)))
    idle_closed = await idle.is_closed()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the loop
        await asyncio.open_connection(*address)
    go_on.set()
    answer = await busy.answer()
    await draining

    assert idle_closed
    assert (answer.body, answer.value("connection")) == (b"done", "close")
    assert await busy.is_closed()
    assert proxy.statistics().connections_open == 0
    assert proxy.statistics().upstream_open == 0
    with pytest.raises(ConfigurationError):
        await proxy.listen("127.0.0.1", 0)


async def test_a_connection_promised_before_a_drain_brings_one_more_request(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def halt(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
        if b"/slow" in request.line:
            await go_on.wait()
        writer.write(b"2")

    endpoint = await stage.endpoint(halt)
    proxy = await stage.proxy(forward(endpoint.port))
    witness, client = await stage.connect(proxy), await stage.connect(proxy)
    await client.send(get("/slow"))
    async with asyncio.timeout(LONG):
        promise = await client.reader.readuntil(b"\r\n\r\n")

    draining = asyncio.ensure_future(proxy.drain(timedelta(seconds=LONG), linger=timedelta(seconds=LONG)))
    # Each response says whether its connection goes on.
    while (await witness.ask(get())).value("connection") is None:
        pass
    go_on.set()
    async with asyncio.timeout(LONG):
        assert await client.reader.readexactly(2) == b"12"
    more = await client.ask(get())
    await draining

    assert b"Connection" not in promise
    assert (more.status, more.body, more.value("connection")) == (200, b"12", "close")
    assert await client.is_closed()


async def test_local_replies_of_a_drain_end_their_connection_and_say_so(stage: Stage) -> None:
    proxy = await stage.proxy(RoutingTable())
    client = await stage.connect(proxy)

    draining = asyncio.ensure_future(proxy.drain(timedelta(seconds=LONG), linger=timedelta(seconds=LONG)))
    while (answer := await client.ask(get())).value("connection") is None:
        pass
    await draining

    assert (answer.status, answer.value("connection")) == (404, "close")
    assert await client.is_closed()


async def test_drain_cuts_what_is_left_after_its_grace(stage: Stage) -> None:
    async def never(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint = await stage.endpoint(never)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    await proxy.drain(timedelta(milliseconds=100))

    assert await client.is_closed()
    assert proxy.statistics().connections_open == 0


async def test_run_serves_until_cancelled_and_leaves_nothing(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    running = asyncio.ensure_future(proxy.run())
    client = await stage.connect(proxy)

    status = (await client.ask(get())).status
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert status == 200
    assert await client.is_closed()
    assert proxy.statistics().upstream_open == 0


async def test_close_gives_up_connections_that_are_being_made(stage: Stage) -> None:
    with blocked_port() as port:
        proxy = await stage.proxy(forward(port))
        client = await stage.connect(proxy)
        await client.send(get())
        await until(lambda: [one.active for one in proxy.statistics().backends.values()] == [1])

        await proxy.close()

        assert await client.is_closed()


async def test_connection_that_is_not_made_in_time_is_a_504(stage: Stage) -> None:
    with blocked_port() as port:
        proxy = await stage.proxy(forward(port, connect_timeout=0.1))
        client = await stage.connect(proxy)

        assert (await client.ask(get())).status == 504


async def test_access_log_has_a_record_for_each_request(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(reply(b"hello"))
    proxy = await stage.proxy(forward(endpoint.port, path="/app"), access_log=records.append)
    client = await stage.connect(proxy)

    await client.ask(get("/app//x?secret=1", fields=["X-Request-ID: r-1"]))
    await client.ask(get("/other"))
    await client.ask(b"nonsense\r\n\r\n")

    served, missing, refused = records
    assert (served.status, served.method, served.host, served.path) == (200, "GET", "web.example", "/app/x")
    assert (served.rule_host, served.client, served.sent_bytes, served.request_id) == (
        "*",
        "127.0.0.1",
        5,
        "r-1",
    )
    assert (str(served.backend), served.endpoint, served.attempts) == (
        "shop/web:80",
        f"127.0.0.1:{endpoint.port}",
        1,
    )
    assert (missing.status, missing.backend, missing.rule_host) == (404, None, "")
    assert (refused.status, refused.method) == (400, "")


@pytest.mark.parametrize(
    "settings",
    [
        {"read_timeout": timedelta(0)},
        {"max_headers": 0},
        {"public_https_port": 0},
        {"public_http_port": 65536},
        {"proxy_protocol": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
async def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        ProxySettings(**settings)  # type: ignore[arg-type]


async def test_proxy_that_never_listened_closes_too() -> None:
    async with Proxy() as proxy:
        proxy.swap(RoutingTable())

    assert proxy.statistics().connections_total == 0


async def test_both_address_families_are_served_when_no_host_is_named(stage: Stage) -> None:
    proxy = await stage.proxy(forward())
    listener = await proxy.listen("", 0)

    reader, writer = await asyncio.open_connection("127.0.0.1", listener.address[1])
    writer.write(get())
    status = (await reader.readuntil(b"\r\n"))[9:12]
    writer.close()

    assert status == b"503"
