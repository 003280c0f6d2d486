"""Faults whose criterion is about the whole chain, from the API server to what the proxy serves."""

from __future__ import annotations

import dataclasses
import signal
import socket
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from datetime import datetime, timedelta, tzinfo
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread
import pytest

import ingresskit.controller.loop
from ingresskit.cache import SharedInformer
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.graph import RouteGraph
from ingresskit.kube import ResourceKind
from ingresskit.models import Service
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.sources import ClusterSettings, ClusterSource
from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer, DropEvents, Fault, Match, RepeatEvents, SendLines, expired
from ingresskit.testing.fake_transport import FakeTransport
from ingresskit.translate import DestinationPolicy
from tests.faults.chain import DEADLINE, OPTIONS, QUICK, Chain, chain, until
from tests.features.cluster_scene import LOOPBACK, Pod, ingress, ingress_class, service, slice_of
from tests.features.reference_process import ReferenceController, wait_until
from tests.unit.cache.virtual_time import run

pytestmark = pytest.mark.anyio

WATCHES = Match(verbs=["watch"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncGenerator[ApiServer]:
    async with ApiServer(bookmark_seconds=0.3) as made:
        made.load([ingress_class(), service(), slice_of(port=8080), ingress("a"), ingress("b"), ingress("c")])
        yield made


def passes(running: Chain) -> int:
    return running.controller.statistics().passes


async def live(running: Chain, *names: str) -> float:
    """Wait until the hosts of just these Ingresses are served."""
    wanted = [f"{name}.example" for name in names]
    return await until(lambda: running.hosts() == wanted)


async def test_f05_a_relist_is_one_rebuild(server: ApiServer) -> None:
    async with chain(server) as running:
        await live(running, "a", "b", "c")
        server.faults.add(Fault(action=DropEvents(), match=WATCHES))
        for name in ("a", "b"):
            server.delete("networking.k8s.io/v1", "Ingress", name, "shop")
        await anyio.sleep(0.05)
        before = passes(running)
        server.faults.clear()
        server.faults.add(Fault(action=SendLines.error(expired("too old")), match=WATCHES, count=5))
        took = await live(running, "c")

        assert took < 2
        assert passes(running) == before + 1


async def test_f13_doubled_events_cost_no_more_rebuilds_than_there_were_changes(server: ApiServer) -> None:
    async with chain(server) as running:
        await live(running, "a", "b", "c")
        server.faults.add(Fault(action=RepeatEvents(times=5), match=WATCHES))
        before = passes(running)
        for number in range(20):
            server.put(slice_of(port=9000 + number))
            await anyio.sleep(0.02)
        server.put(ingress("d"))
        await live(running, "a", "b", "c", "d")

        assert passes(running) <= before + 21


async def test_f19_clocks_that_jump_stop_nothing(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = timedelta(0)
    real = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(time, "time", lambda: real() + offset.total_seconds())
    monkeypatch.setattr(ingresskit.controller.loop, "datetime", Jumping)
    names = ["a", "b", "c"]
    async with chain(server) as running:
        await live(running, *names)
        for number, jump in enumerate([timedelta(hours=1), timedelta(hours=-1), timedelta(days=3650)]):
            offset = jump
            names.append(f"d{number}")
            server.put(ingress(f"d{number}"))

            assert await live(running, *names) < 5


async def test_f22_a_storm_of_one_tenant_holds_nobody_up(server: ApiServer) -> None:
    loop = ControllerSettings()
    over = False

    def storm() -> int:
        count = 0
        while not over:
            server.put(slice_of("noise", port=1 + count % 60000))
            count += 1
            time.sleep(0.001)
        return count

    counts: list[int] = []
    settings = ClusterSettings(reflector=QUICK.reflector)
    async with chain(server, settings=settings, loop=loop) as running, anyio.create_task_group() as group:
        await live(running, "a", "b", "c")

        async def storming() -> None:
            counts.append(await anyio.to_thread.run_sync(storm))

        group.start_soon(storming)
        before, began = passes(running), anyio.current_time()
        for name in ("d", "e", "f"):
            await anyio.sleep(0.5)
            server.put(ingress(name))
            assert await until(lambda name=name: f"{name}.example" in running.hosts()) < 10  # type: ignore[misc]
        seconds = anyio.current_time() - began
        # Two a second, and what the burst lets through at the beginning.
        assert passes(running) - before <= 2 * seconds + settings.burst + 1
        over = True
    assert counts[0] > 100


async def test_f23_ten_thousand_endpoints_and_five_thousand_rules(server: ApiServer) -> None:
    lags: list[float] = []

    async def beat() -> None:
        while True:
            began = anyio.current_time()
            await anyio.sleep(0.01)
            lags.append(anyio.current_time() - began - 0.01)

    def slices(third: int) -> list[dict[str, object]]:
        made: list[dict[str, object]] = []
        for number in range(100):
            endpoints = [{"addresses": [f"10.{third}.{number}.{host}"]} for host in range(1, 101)]
            meta = {"name": f"web-{number + 2}", "namespace": "shop"}
            labels = {"kubernetes.io/service-name": "web"}
            made.append({**slice_of(port=80), "metadata": {**meta, "labels": labels}, "endpoints": endpoints})
        return made

    server.load(ingress(f"r{number}") for number in range(5000))
    server.load(slices(1))
    async with chain(server) as running:
        await until(lambda: len(running.hosts()) == 5003)
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            for item in slices(2):
                server.put(item)
            wanted = b"10.2.99.100"
            await until(lambda: wanted in _backends(running), every=0.1)
            group.cancel_scope.cancel()

    # The API server of the test shares this loop; its own work on a change or two is not the controller's.
    assert len(lags) > 10
    assert sorted(lags)[-3] < pace.within(0.2)


def _backends(running: Chain) -> bytes:
    outcome = running.controller.outcome
    return b"" if outcome is None else repr(outcome.graph.backends).encode()


async def test_f15_one_object_of_a_thousand_that_cannot_be_read_is_named(server: ApiServer) -> None:
    server.load(ingress(f"r{number}") for number in range(999))
    async with chain(server) as running:
        await until(lambda: len(running.hosts()) == 1002)
        server.put({**ingress("odd"), "spec": {"rules": 7}})
        server.put(ingress("r999"))
        await until(lambda: len(running.hosts()) == 1003)
        snapshot = running.source.snapshot()

    assert snapshot is not None
    assert [(item.kind, item.namespace, item.name) for item in snapshot.problems] == [
        ("Ingress", "shop", "odd")
    ]


def test_f24_twenty_thousand_objects_are_asked_for_in_pages() -> None:
    async def main() -> None:
        server = FakeTransport()
        server.streams_lists = False
        kind = ResourceKind.of(Service)
        for number in range(20_000):
            server.put(kind, {"metadata": {"name": f"s{number}", "namespace": "shop"}, "spec": {}})
        source = ClusterSource(server)
        async with anyio.create_task_group() as group:
            group.start_soon(source.run)
            await source.wait_changed(0)
            group.cancel_scope.cancel()
        snapshot = source.snapshot()
        lists = [item for item in server.requests if item.verb == "list"]

        assert snapshot is not None
        assert len(snapshot.by_key(Service)) == 20_000
        assert {item.query["limit"] for item in lists} == {"500"}
        assert sum(item.path.endswith("/services") for item in lists) == 40

    run(main)


async def test_f43_a_name_that_cannot_be_looked_up_for_a_time(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, down = socket.getaddrinfo, True

    def lookup(host: str, port: int, *args: int, **options: int) -> object:
        if host == "api.test":
            if down:
                raise socket.gaierror(socket.EAI_AGAIN, "the test's name server is away")
            host = "127.0.0.1"
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    class Named:
        url = server.url.replace("127.0.0.1", "api.test")
        ca = server.ca
        token = server.token

    async with chain(Named()) as running:
        await until(lambda: all(it.failures > 1 for it in running.source.statistics().caches.values()))
        assert running.source.snapshot() is None
        assert running.source.hindrance()
        down = False
        await live(running, "a", "b", "c")


async def test_f43_a_name_server_that_is_away_or_lies_leads_nowhere_else(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answer = socket.getaddrinfo, ""

    def lookup(host: str, port: int, *args: int, **options: int) -> object:
        if host == "pods.test":
            if not answer:
                raise socket.gaierror(socket.EAI_AGAIN, "the test's name server is away")
            host = answer
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    destinations = DestinationPolicy(allow=OPTIONS.destinations.allow, external_names=True)
    with Pod("elsewhere") as pod:
        external = {"type": "ExternalName", "externalName": "pods.test", "ports": [{"port": pod.port}]}
        server.put({**service("far"), "spec": external})
        backend = {"service": {"name": "far", "port": {"number": pod.port}}}
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        rules = [{"host": "far.example", "http": {"paths": paths}}]
        server.put({**ingress("far"), "spec": {"ingressClassName": "ingresskit", "rules": rules}})
        async with chain(server, options=dataclasses.replace(OPTIONS, destinations=destinations)) as running:
            await live(running, "a", "b", "c", "far")
            port = (await running.proxy.listen("127.0.0.1", 0)).address[1]

            assert (await anyio.to_thread.run_sync(_asked, port))[0] in (502, 503)
            answer = "169.254.169.254"
            assert (await anyio.to_thread.run_sync(_asked, port))[0] in (502, 503)
            answer = "127.0.0.1"
            with anyio.fail_after(DEADLINE):
                while await anyio.to_thread.run_sync(_asked, port) != (200, b"elsewhere"):  # noqa: ASYNC110 - asks over the network
                    await anyio.sleep(0.1)


def _asked(port: int) -> tuple[int, bytes]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
        connection.request("GET", "/", headers={"Host": "far.example"})
        answer = connection.getresponse()
        return answer.status, answer.read()


async def test_f52_the_event_loop_goes_on_while_a_graph_is_made(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, beats = 0.0, 0
    real = InProcessRenderer.render

    def slow(self: InProcessRenderer, graph: RouteGraph) -> RoutingTable:
        until_then = time.monotonic() + busy
        while time.monotonic() < until_then:
            sum(range(1000))
        return real(self, graph)

    monkeypatch.setattr(InProcessRenderer, "render", slow)
    async with chain(server) as running:
        await live(running, "a", "b", "c")
        busy = 2.0
        server.put(ingress("d"))
        while running.hosts()[-1] != "d.example":
            await anyio.sleep(0.05)
            beats += 1

    assert beats > 10


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (SharedInformer, "run"),
        (ClusterSource, "_publish_changes"),
        (ClusterSource, "_wake_on_changes"),
        (ClusterSource, "_wake_when_settled"),
        (Controller, "_loop"),
    ],
    ids=lambda item: getattr(item, "__name__", item),
)
async def test_f53_no_task_dies_alone(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, owner: type[object], method: str
) -> None:
    async def die(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(owner, method, die)
    with pytest.raises(Exception) as caught, anyio.fail_after(pace.within(10)):  # noqa: PT011 - its form is what differs
        async with chain(server):
            await anyio.sleep_forever()

    assert "a mistake of ours" in _all_words(caught.value)


def _all_words(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.fixture
def threaded() -> Generator[ApiServer]:
    with ApiServer.in_thread(bookmark_seconds=0.5) as made:
        yield made


def test_f20_a_process_that_slept_catches_up(threaded: ApiServer, tmp_path: Path) -> None:
    server = threaded
    with Pod("first") as pod:
        server.load([ingress_class(), service(), slice_of(port=pod.port), ingress("a")])
        config = server.kubeconfig(tmp_path / "config")
        with ReferenceController("--kubeconfig", config, LOOPBACK) as running:
            running.wait_ready()
            wait_until(_answers(running, "a.example", "first"))
            running.process.send_signal(signal.SIGSTOP)
            try:
                server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
                server.put(ingress("b"))
                server.compact()
                server.drop_connections()
            finally:
                running.process.send_signal(signal.SIGCONT)
            wait_until(_answers(running, "b.example", "first"))

            assert running.get("a.example").status == 404


def _answers(running: ReferenceController, host: str, text: str) -> Callable[[], bool]:
    return lambda: running.get(host).text == text
