"""No client takes the room of others: neither their connections nor the memory that all share."""

from __future__ import annotations

import asyncio
import gc
from ipaddress import ip_address
from pathlib import Path

import pytest

from ingresskit.graph import Termination
from ingresskit.proxy import AccessRecord, Proxy
from ingresskit.proxy.h1.downstream import H1Downstream
from ingresskit.proxy.h1.heads import RequestReader
from ingresskit.proxy.limits.crowd import Crowd, owner_of
from ingresskit.proxy.limits.memory import Memory, connections_for, memory_limit, waiting_bytes_for
from tests.unit.proxy.conftest import Seen, Stage, forward, get, reply, until


class Connection:
    """Only whether it is idle, and whether it was given up."""

    def __init__(self, *, idle: bool = True) -> None:
        self.state_is_idle = idle
        self.gone: list[str] = []

    @property
    def is_idle(self) -> bool:
        return self.state_is_idle and not self.gone

    def give_up(self, reason: str) -> None:
        self.gone.append(reason)

    def drain(self) -> None: ...

    def abort(self) -> None: ...


def crowded(*numbers: int, idle: bool = True, most: int | None = None) -> tuple[Crowd, list[list[Connection]]]:
    """Clients 1, 2, … with so many connections each, which is as many as there may be."""
    crowd = Crowd(most or sum(numbers), 1)
    clients = [[Connection(idle=idle) for _ in range(number)] for number in numbers]
    for owner, connections in enumerate(clients, 1):
        for connection in connections:
            crowd.add(connection, owner, tls=False)
    return crowd, clients


def test_idle_connection_of_the_client_that_has_most_makes_room() -> None:
    crowd, (many, few) = crowded(9, 2)

    assert [crowd.has_room(3, tls=False) for _ in range(4)] == [True] * 4

    assert [one.gone for one in many].count(["limit"]) == 4
    assert not any(one.gone for one in few)


def test_below_the_limit_nobody_makes_room() -> None:
    crowd, (many,) = crowded(9, most=10)

    assert crowd.has_room(3, tls=False)
    assert not any(one.gone for one in many)


def test_idle_connection_behind_thousands_at_work_is_found() -> None:
    crowd, (many,) = crowded(3000, idle=False)
    many[2000].state_is_idle = True

    found = [crowd.has_room(1, tls=False) for _ in range(100)]

    assert found.count(True) == 1
    assert many[2000].gone == ["limit"]


def test_client_with_most_connections_at_work_gives_up_one_for_another_client_only() -> None:
    crowd, (many, few) = crowded(8, 2, idle=False)

    assert not crowd.has_room(1, tls=False)
    assert [crowd.has_room(3, tls=False) for _ in range(3)] == [True] * 3
    assert [one.gone for one in many].count(["limit"]) == 3
    assert not any(one.gone for one in few)


def test_ended_connection_leaves_room() -> None:
    crowd, (many,) = crowded(3, idle=False)

    crowd.discard(many[0], 1, tls=False)
    crowd.discard(many[0], 1, tls=False)

    assert crowd.weight == 2
    assert crowd.has_room(1, tls=False)


def test_connection_with_tls_weighs_more() -> None:
    crowd = Crowd(10, 4)
    crowd.add(Connection(idle=False), 1, tls=True)
    crowd.add(Connection(idle=False), 1, tls=True)

    assert crowd.weight == 8
    assert crowd.has_room(1, tls=False)
    assert not crowd.has_room(1, tls=True)


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert owner_of(ip_address("2001:db8::1")) == owner_of(ip_address("2001:db8::ffff"))
    assert owner_of(ip_address("2001:db8::1")) != owner_of(ip_address("2001:db8:0:1::1"))
    assert owner_of(ip_address("192.0.2.1")) != owner_of(ip_address("192.0.2.2"))


def test_who_holds_most_and_made_no_progress_for_longest_goes() -> None:
    memory = Memory(100, 100)
    first, second, other = Connection(), Connection(), Connection()
    memory.charge(first, 1, 30, bounded=True)
    memory.charge(second, 1, 30, bounded=True)
    memory.charge(first, 1, 0, bounded=True)
    memory.charge(first, 1, 30, bounded=True)

    memory.charge(other, 2, 50, bounded=True)

    assert (first.gone, second.gone, other.gone) == ([], ["memory"], [])
    assert memory.held == 80
    assert memory.is_scarce


def test_one_client_has_its_own_bound_unless_it_stands_for_many() -> None:
    memory = Memory(100, 40)
    clients = [Connection() for _ in range(3)]
    for one in clients:
        memory.charge(one, 1, 20, bounded=True)
    balancer = [Connection() for _ in range(3)]
    for one in balancer:
        memory.charge(one, 2, 20, bounded=False)

    assert [one.gone for one in clients] == [["memory"], [], []]
    assert not any(one.gone for one in balancer)
    assert memory.held == 100


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "83886080\n"}, 83886080),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("0::/pod/web\n", {"pod/memory.max": "1000000\n", "pod/web/memory.max": "2000000\n"}, 1000000),
        ("0::/../../pod\n", {"memory.max": "3000000\n"}, 3000000),
        ("5:cpu,memory:/x\n1:name=systemd:/\n", {"memory/memory.limit_in_bytes": "4000000\n"}, 4000000),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
    ids=["v2", "v2 without", "no files", "nearest above counts", "outside", "v1", "v1 without"],
)
def test_memory_limit_of_the_control_group_is_read(
    tmp_path: Path, lines: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(lines)
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    assert memory_limit(tmp_path) == limit


def test_limits_follow_the_memory_there_is() -> None:
    assert memory_limit(Path("/nowhere")) is None
    assert (connections_for(None), waiting_bytes_for(None)) == (16384, 64 << 20)
    assert (connections_for(80 << 20), waiting_bytes_for(80 << 20)) == (1280, 10 << 20)
    assert connections_for(64 << 30) == 16384


# With a proxy that runs.


@pytest.mark.anyio
async def test_idle_connection_is_closed_for_a_new_one(stage: Stage) -> None:
    proxy = await stage.proxy(forward(path="/app"), max_connections=2)
    old = [await stage.connect(proxy) for _ in range(2)]
    for client in old:
        assert (await client.ask(get())).status == 404

    new = await stage.connect(proxy)

    assert (await new.ask(get())).status == 404
    assert await old[0].is_closed()
    assert (await old[1].ask(get())).status == 404
    statistics = proxy.statistics()
    assert (statistics.connections_given_up, statistics.connections_refused) == (1, 0)


def held(proxy: Proxy) -> int:
    parts = proxy._parts  # pyright: ignore[reportPrivateUsage]
    assert parts is not None
    return parts.clients.memory.held


@pytest.mark.anyio
async def test_slow_readers_are_given_up_beyond_the_budget(stage: Stage) -> None:
    records: list[AccessRecord] = []

    async def pour(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()

    endpoint = await stage.endpoint(pour)
    proxy = await stage.proxy(forward(endpoint.port), max_waiting_bytes=1 << 20, access_log=records.append)
    clients = [await stage.connect(proxy, limit=1024) for _ in range(30)]
    for client in clients:
        await client.send(get())

    await until(lambda: proxy.statistics().connections_given_up > 0)
    await until(lambda: len(records) == proxy.statistics().connections_given_up)

    assert held(proxy) <= 1 << 20
    assert {(one.status, one.termination) for one in records} == {(200, Termination.OVERLOADED)}
    for client in clients:
        client.writer.transport.abort()
    await until(lambda: proxy.statistics().connections_open == 0)
    assert held(proxy) == 0


@pytest.mark.anyio
async def test_unfinished_heads_are_given_up_beyond_the_budget(stage: Stage) -> None:
    proxy = await stage.proxy(forward(path="/app"), max_waiting_bytes_per_client=100_000)
    clients = [await stage.connect(proxy) for _ in range(20)]
    for client in clients:
        await client.send(b"GET / HTTP/1.1\r\nHost: web.example\r\nX: " + b"y" * 20_000)

    await until(lambda: proxy.statistics().connections_given_up >= 14)

    assert held(proxy) <= 100_000
    assert (await clients[-1].ask(b"\r\n\r\n")).status == 404


@pytest.mark.anyio
async def test_uploads_are_kept_for_another_try_within_the_budget(stage: Stage) -> None:
    """Beyond half of it a body is passed on and not kept: nobody is cut for that."""
    go_on = asyncio.Event()

    async def wait(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply())

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port), max_waiting_bytes=1 << 20)
    clients = [await stage.connect(proxy) for _ in range(40)]
    for client in clients:
        await client.send(get(method="PUT", fields=["Content-Length: 60000"]) + b"x" * 20_000)
    await until(lambda: endpoint.connections == 40)
    for client in clients:
        await client.send(b"x" * 40_000)
    await until(lambda: len(endpoint.seen) == 40)
    go_on.set()

    assert [(await client.answer()).status for client in clients] == [200] * 40
    assert proxy.statistics().connections_given_up == 0
    await until(lambda: held(proxy) == 0)


@pytest.mark.anyio
async def test_connection_that_ends_leaves_nothing_to_the_garbage_collector(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    assert (await client.ask(get())).status == 200
    kinds = (H1Downstream, RequestReader)
    gc.collect()
    gc.disable()

    try:
        client.writer.close()
        await until(lambda: not any(isinstance(one, kinds) for one in gc.get_objects()))
    finally:
        gc.enable()
