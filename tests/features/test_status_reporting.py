"""Status and Events end to end: a controller on a cluster, over real sockets, with its leader election."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.abc
import pytest

from ingresskit import InProcessApplier, InProcessRenderer
from ingresskit.cache import SharedInformerFactory
from ingresskit.controller import Controller
from ingresskit.controller.leader import LeaderElector, LeaderSettings
from ingresskit.controller.reporter import StatusReporter
from ingresskit.kube import AioTransport, KubeconfigCredentials
from ingresskit.models import ObjectKey
from ingresskit.proxy import Proxy
from ingresskit.sources.cluster import ClusterSource
from ingresskit.status import (
    AddressSource,
    EventRecorder,
    FixedAddresses,
    NodeAddresses,
    ServiceAddresses,
    StatusWriter,
)
from ingresskit.testing.apiserver import Answer, ApiServer, Fault, Match

pytestmark = pytest.mark.anyio

# As quick as whole seconds in a Lease allow.
QUICK = LeaderSettings(
    lease_duration=timedelta(seconds=2),
    renew_deadline=timedelta(seconds=1.5),
    retry_period=timedelta(seconds=0.3),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the transport and the proxy run on nothing else


@pytest.fixture
async def server() -> AsyncGenerator[ApiServer, None]:
    async with ApiServer() as server:
        server.put(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": "ours"},
                "spec": {"controller": "ingresskit.dev/ingress-controller"},
            }
        )
        yield server


def add_ingress(server: ApiServer, name: str, host: str) -> None:
    backend = {"service": {"name": "nowhere", "port": {"number": 80}}}
    server.put(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "ingressClassName": "ours",
                "rules": [
                    {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
                ],
            },
        }
    )


def status(server: ApiServer, name: str) -> list[Any]:
    item = server.get("networking.k8s.io/v1", "Ingress", name)
    found: dict[str, Any] = item.get("status") or {}
    return cast("list[Any]", found.get("loadBalancer", {}).get("ingress", []))


def events(server: ApiServer) -> list[Any]:
    return list(server.list("events.k8s.io/v1", "Event"))


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the server is only looked at
            await anyio.sleep(0.02)


class Replica:
    """One controller with all that tells the cluster about it."""

    def __init__(
        self, transport: AioTransport, proxy: Proxy, address: str, manager: str = "ingresskit"
    ) -> None:
        self.source = ClusterSource(transport)
        self.controller = Controller(
            source=self.source, renderer=InProcessRenderer(), applier=InProcessApplier(proxy)
        )
        self.elector = LeaderElector(transport, namespace="default", settings=QUICK)
        self.writer = StatusWriter(transport)
        self.factory = SharedInformerFactory(transport)
        self.addresses: AddressSource = FixedAddresses([address] if address else [])
        self.transport = transport

    async def run(self) -> None:
        reporter = StatusReporter(
            self.controller,
            source=self.source,
            elector=self.elector,
            writer=self.writer,
            addresses=self.addresses,
            events=EventRecorder(self.transport),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.factory.run)
            tasks.start_soon(self.controller.run)
            tasks.start_soon(reporter.run)


@asynccontextmanager
async def replicas(
    server: ApiServer, tmp_path: Path, *addresses: str
) -> AsyncGenerator[tuple[list[Replica], anyio.abc.TaskGroup], None]:
    config = server.kubeconfig(tmp_path / "config")
    async with AsyncExitStack() as stack:
        made: list[Replica] = []
        for address in addresses:
            transport = await stack.enter_async_context(AioTransport(KubeconfigCredentials(config)))
            made.append(Replica(transport, await stack.enter_async_context(Proxy()), address))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        yield made, tasks
        tasks.cancel_scope.cancel()


async def test_addresses_and_diagnostics_reach_the_objects(server: ApiServer, tmp_path: Path) -> None:
    add_ingress(server, "web", "shop.example")
    async with replicas(server, tmp_path, "192.0.2.1") as ((replica,), tasks):
        tasks.start_soon(replica.run)
        await until(lambda: status(server, "web") == [{"ip": "192.0.2.1"}])
        await until(lambda: [event["reason"] for event in events(server)] == ["ServiceNotFound"])
        add_ingress(server, "late", "late.example")
        await until(lambda: status(server, "late") == [{"ip": "192.0.2.1"}])
        await until(lambda: len(events(server)) == 2)
        await until(lambda: replica.writer.statistics()["writes"] >= 2)
        assert replica.writer.statistics()["writes"] == 2


async def test_one_replica_writes_and_the_other_takes_over(server: ApiServer, tmp_path: Path) -> None:
    async with replicas(server, tmp_path, "192.0.2.1", "192.0.2.1") as (both, tasks):
        scopes = [anyio.CancelScope() for _ in both]

        async def run(index: int) -> None:
            with scopes[index]:
                await both[index].run()

        for index in range(2):
            tasks.start_soon(run, index)
        await until(lambda: any(replica.elector.is_leader for replica in both))
        leader = next(index for index, replica in enumerate(both) if replica.elector.is_leader)
        add_ingress(server, "web", "shop.example")
        await until(lambda: status(server, "web") != [])
        assert both[1 - leader].writer.statistics()["writes"] == 0

        scopes[leader].cancel()
        add_ingress(server, "late", "late.example")
        await until(lambda: status(server, "late") != [])
        await until(lambda: both[1 - leader].writer.statistics()["writes"] > 0)
        assert both[1 - leader].writer.statistics()["writes"] == 1  # what was right already is left alone
        assert both[1 - leader].controller.outcome is not None


def has_routes(replica: Replica) -> bool:
    outcome = replica.controller.outcome
    return outcome is not None and bool(outcome.graph.virtual_hosts)


async def test_routes_go_live_though_no_leader_can_be_elected(server: ApiServer, tmp_path: Path) -> None:
    server.faults.add(Fault(action=Answer(status=500), match=Match(resources=["leases"])))
    add_ingress(server, "web", "shop.example")
    async with replicas(server, tmp_path, "192.0.2.1") as ((replica,), tasks):
        tasks.start_soon(replica.run)
        await until(lambda: has_routes(replica) and replica.elector.statistics()["failures"] > 1)
        assert status(server, "web") == []


async def test_routes_go_live_though_nothing_may_be_written(server: ApiServer, tmp_path: Path) -> None:
    server.faults.add(
        Fault(
            action=Answer(status=403),
            match=Match(verbs=["patch", "create"], resources=["ingresses/status", "events"]),
        )
    )
    add_ingress(server, "web", "shop.example")
    async with replicas(server, tmp_path, "192.0.2.1") as ((replica,), tasks):
        tasks.start_soon(replica.run)
        await until(lambda: replica.writer.statistics()["failures"] > 0)
        add_ingress(server, "late", "late.example")
        await until(lambda: has_routes(replica))
        await until(lambda: len(replica.controller.diagnostics) == 2)
        assert replica.elector.is_leader
        assert events(server) == status(server, "web") == []


async def test_addresses_follow_the_service_in_front(server: ApiServer, tmp_path: Path) -> None:
    add_ingress(server, "web", "shop.example")

    def put_service(ip: str) -> None:
        server.put(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "edge", "namespace": "default"},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
                "status": {"loadBalancer": {"ingress": [{"ip": ip}] if ip else []}},
            }
        )

    put_service("192.0.2.1")
    async with replicas(server, tmp_path, "") as ((replica,), tasks):
        replica.addresses = ServiceAddresses(replica.factory, ObjectKey("default", "edge"))
        tasks.start_soon(replica.run)
        await until(lambda: status(server, "web") == [{"ip": "192.0.2.1"}])
        put_service("192.0.2.2")
        await until(lambda: status(server, "web") == [{"ip": "192.0.2.2"}])
        server.delete("v1", "Service", "edge")
        await until(lambda: replica.writer.addresses == ())
        add_ingress(server, "late", "late.example")
        await until(lambda: len(replica.controller.diagnostics) == 2)
        assert status(server, "late") == []
        assert status(server, "web") == [{"ip": "192.0.2.2"}]  # never cleared by accident


async def test_addresses_follow_the_nodes(server: ApiServer, tmp_path: Path) -> None:
    add_ingress(server, "web", "shop.example")

    def put_node(name: str, ip: str, ready: str) -> None:
        server.put(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": ip}],
                    "conditions": [{"type": "Ready", "status": ready}],
                },
            }
        )

    put_node("one", "10.0.0.1", "True")
    put_node("two", "10.0.0.2", "False")
    async with replicas(server, tmp_path, "") as ((replica,), tasks):
        replica.addresses = NodeAddresses(replica.factory)
        tasks.start_soon(replica.run)
        await until(lambda: status(server, "web") == [{"ip": "10.0.0.1"}])
        put_node("two", "10.0.0.2", "True")
        await until(lambda: status(server, "web") == [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])
