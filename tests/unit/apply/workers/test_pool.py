"""Worker processes under their owner: changed, killed, renewed, drained."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType

import anyio
import pytest

from ingresskit.apply import ProcessSettings
from ingresskit.apply.workers import ListeningAddress, ListeningSockets, WorkerOptions, WorkerPool
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.graph import PathMatch, Redirect, Route, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.proxy import ProxySettings
from ingresskit.render.access import AccessRecord
from ingresskit.render.inprocess import HostTable, RoutingTable, TargetMaker
from ingresskit.testing import pace

pytestmark = pytest.mark.anyio

DEADLINE = pace.within(60.0)
ORIGIN = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
QUICK = WorkerOptions(
    statistics_interval=timedelta(milliseconds=20),
    linger=timedelta(milliseconds=50),
    drain_grace=timedelta(seconds=5),
    process=ProcessSettings(restart_first=timedelta(milliseconds=10)),
)
HERE = [ListeningAddress("127.0.0.1", 0, tls=False)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_table(location: str) -> RoutingTable:
    """A table that redirects every request."""
    route = Route(match=PathMatch.prefix("/"), action=Redirect(location=location), origin=ORIGIN)
    maker = TargetMaker(VirtualHost(host="*", routes=(route,)))
    return RoutingTable(hosts={"*": HostTable(host="*", prefixes={"": maker.target(route)})})


async def listen(pool: WorkerPool, count: int = 2) -> int:
    sockets = await ListeningSockets.open(HERE, count)
    await pool.listen(sockets)
    return sockets.addresses[0].port


async def ask(port: int) -> str:
    """The status and the location of a response on a connection of its own."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n")
        text = b""
        try:
            while True:
                text += await stream.receive()
        except anyio.EndOfStream:
            pass
    lines = text.decode().split("\r\n")
    location = next((line.partition(": ")[2] for line in lines if line.lower().startswith("location:")), "")
    return f"{lines[0].split()[1]} {location}".strip()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes cannot be waited for
        await anyio.sleep(0.01)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
async def test_all_workers_serve_a_table_when_serve_returns() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            for step in range(5):
                await pool.serve(make_table(f"/{step}"))
                # The kernel spreads connections over both: one of them gets none of twenty once in a million.
                assert {await ask(port) for _ in range(20)} == {f"308 /{step}"}
            await until(lambda: pool.statistics().requests.get("*", {}).get(3) == 100)


async def test_a_killed_worker_is_replaced_and_its_queue_is_served_meanwhile() -> None:
    slow = WorkerOptions(
        process=ProcessSettings(restart_first=timedelta(seconds=3600), restart_ceiling=timedelta(seconds=3600))
    )
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=slow) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            os.kill(pool.pids[0], signal.SIGKILL)

            # The slot stays empty, and no connection waits for it.
            assert Counter([await ask(port) for _ in range(20)]) == {"308 /one": 20}
            await until(lambda: len(pool.pids) == 1)
            assert pool.problem == ""


async def test_workers_that_end_are_started_again_at_the_present_table() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            before = pool.pids
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            await pool.serve(make_table("/two"))
            await until(lambda: len(pool.pids) == 2)

            assert not set(before) & set(pool.pids)
            assert {await ask(port) for _ in range(10)} == {"308 /two"}
            assert pool.statistics().worker_restarts == 2
            await until(lambda: pool.statistics().requests.get("*", {}).get(3) == 10)


async def test_a_worker_that_does_not_respond_is_replaced() -> None:
    options = WorkerOptions(
        push_timeout=timedelta(seconds=0.2),
        process=ProcessSettings(restart_first=timedelta(milliseconds=10)),
    )
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=options) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            stopped = pool.pids[0]
            os.kill(stopped, signal.SIGSTOP)
            await pool.serve(make_table("/two"))

            assert stopped not in pool.pids
            assert {await ask(port) for _ in range(10)} == {"308 /two"}


async def test_renewed_workers_lose_no_request() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            before = set(pool.pids)
            found: list[str] = []
            async with anyio.create_task_group() as tasks:

                async def load() -> None:
                    while True:
                        found.append(await ask(port))

                for _ in range(4):
                    tasks.start_soon(load)
                await pool.renew()
                asked = len(found) + 20
                await until(lambda: len(found) >= asked)
                tasks.cancel_scope.cancel()

            assert not before & set(pool.pids)
            assert set(found) == {"308 /one"}


async def test_a_table_that_cannot_be_sent_is_refused_and_the_one_before_is_served_on() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            wrong = make_table("/two")
            object.__setattr__(wrong, "affinity_key", lambda: b"")
            with pytest.raises(ApplyError, match="cannot be sent to worker processes"):
                await pool.serve(wrong)
            assert await ask(port) == "308 /one"
            await pool.serve(make_table("/three"))
            assert await ask(port) == "308 /three"


async def test_a_table_that_no_worker_can_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    word = type("Word", (bytes,), {"__module__": "only_here"})
    vars(module)["Word"] = word
    monkeypatch.setitem(sys.modules, "only_here", module)
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            wrong = make_table("/two")
            object.__setattr__(wrong, "affinity_key", word(b"x"))
            with pytest.raises(ApplyError, match=r"cannot read their routes: .*only_here"):
                await pool.serve(wrong)
            assert {await ask(port) for _ in range(5)} == {"308 /one"}
            await pool.serve(make_table("/three"))
            assert {await ask(port) for _ in range(5)} == {"308 /three"}


async def test_records_of_all_workers_arrive() -> None:
    records: list[AccessRecord] = []
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK, access_log=records.append) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            for _ in range(20):
                await ask(port)
            await pool.drain(timedelta(seconds=5))
            await until(lambda: len(records) == 20)
            assert pool.statistics().connections_total == 20
            assert pool.statistics().connections_open == 0


async def test_a_drained_pool_finishes_what_is_under_way() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET / HTTP/1.1\r\nHost: web.example\r\n")
                await until(lambda: pool.statistics().connections_open == 1)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pool.drain, timedelta(seconds=20))
                    await anyio.sleep(0.2)
                    await stream.send(b"\r\n")
                    assert (await stream.receive()).startswith(b"HTTP/1.1 308")
            with pytest.raises(OSError, match="connect"):
                await ask(port)
            assert pool.pids == ()


async def test_a_worker_that_somebody_ends_drains_and_is_replaced() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(ProxySettings(), options=QUICK) as pool:
            await pool.serve(make_table("/one"))
            port = await listen(pool)
            await until(lambda: len(pool.pids) == 2)
            first = pool.pids[0]
            os.kill(first, signal.SIGTERM)
            await until(lambda: len(pool.pids) == 2 and first not in pool.pids)
            assert {await ask(port) for _ in range(10)} == {"308 /one"}


async def test_a_program_that_always_ends_is_reported_and_not_started_all_the_time() -> None:
    with anyio.fail_after(DEADLINE):
        async with WorkerPool(
            ProxySettings(), options=QUICK, argv=(sys.executable, "-c", "raise SystemExit(3)")
        ) as pool:
            await until(lambda: "ended with status 3" in pool.problem)
            assert pool.pids == ()


async def test_a_port_that_is_taken_is_refused_though_it_could_be_shared() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as other,
        pytest.raises(OSError, match="in use"),
    ):
        await ListeningSockets.open([ListeningAddress("127.0.0.1", other.getsockname()[1], tls=False)], 2)


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        WorkerOptions(count=0)
    with pytest.raises(ConfigurationError):
        WorkerOptions(count=65)
