"""Renderers, appliers and sources that fail, hang and count, on demand."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import anyio
from typing_extensions import override

from ingresskit.apply import Dynamic, NoOp, Plan, Reload
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.graph import RouteGraph
from ingresskit.models import (
    EndpointSlice,
    Ingress,
    KubeObject,
    Service,
    Snapshot,
    decode,
)
from ingresskit.render.base import Renderer
from ingresskit.sources import MemorySource, SnapshotStore
from ingresskit.testing import pace

__all__ = [
    "DEADLINE",
    "QUICK",
    "HostsRenderer",
    "LateSource",
    "RecordingApplier",
    "endpoints",
    "ingress",
    "running",
    "service",
    "wait_until",
    "web",
]

DEADLINE = pace.within(10.0)

QUICK = ControllerSettings(
    settle_quiet=timedelta(milliseconds=5),
    settle_ceiling=timedelta(milliseconds=50),
    retry_first=timedelta(milliseconds=1),
    retry_ceiling=timedelta(milliseconds=20),
)

Hosts = tuple[str, ...]


class HostsRenderer(Renderer[Hosts]):
    """Renders the names of the hosts; does first what `before` says."""

    name: ClassVar[str] = "hosts"

    def __init__(self, before: Callable[[RouteGraph], None] | None = None) -> None:
        self.before = before
        self.calls = 0
        self.threads: set[int] = set()

    @override
    def render(self, graph: RouteGraph) -> Hosts:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.before is not None:
            self.before(graph)
        return tuple(host.host for host in graph.virtual_hosts)


class RecordingApplier:
    """Holds what was put live, and all that it was asked to plan; fails with what `errors` holds, in order."""

    def __init__(self, *errors: Exception, gate: anyio.Event | None = None, reload: bool = False) -> None:
        self.live: Hosts | None = None
        self.applied: list[Hosts] = []
        self.planned: list[tuple[Hosts | None, Hosts]] = []
        self.errors: list[Exception] = list(errors)
        self.gate = gate
        self.reload = reload
        self.entered = anyio.Event()

    def plan(self, old: Hosts | None, new: Hosts) -> Plan[Hosts]:
        self.planned.append((old, new))
        if old == new:
            return NoOp()
        return Reload(artifact=new, reason="hosts") if self.reload else Dynamic(artifact=new, summary="hosts")

    async def apply(self, plan: Plan[Hosts]) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if not isinstance(plan, NoOp):
            self.live = plan.artifact
            self.applied.append(plan.artifact)


class LateSource(MemorySource):
    """A source that knows nothing until `deliver`."""

    def __init__(self) -> None:
        super().__init__()
        self._store = SnapshotStore()

    def deliver(self, *objects: KubeObject) -> None:
        self._store.replace(objects)

    @override
    def snapshot(self) -> Snapshot | None:
        return self._store.snapshot()


@asynccontextmanager
async def running(controller: Controller[Hosts]) -> AsyncGenerator[None]:
    """Run the controller for as long as the context is open, with a deadline."""
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run)
            yield
            tasks.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds, for what has nothing to wait on. The caller sets the deadline."""
    while not condition():  # noqa: ASYNC110 - a count in a value cannot be waited for
        await anyio.sleep(0.002)


def ingress(
    name: str,
    host: str,
    path: str = "/",
    *,
    namespace: str = "shop",
    annotations: dict[str, str] | None = None,
    tls: str | None = None,
) -> Ingress:
    """An Ingress of our class with one rule, to port 80 of the Service ``web``."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}
    spec: dict[str, object] = {"rules": [rule]}
    if tls is not None:
        spec["tls"] = [{"hosts": [host], "secretName": tls}]
    return decode(
        Ingress,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
                "annotations": {"kubernetes.io/ingress.class": "ingresskit", **(annotations or {})},
            },
            "spec": spec,
        },
    )


def service(name: str = "web", namespace: str = "shop") -> Service:
    """A Service with port 80 named ``http``."""
    return decode(
        Service,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "clusterIP": "10.96.0.1"},
        },
    )


def endpoints(*addresses: str, name: str = "web", namespace: str = "shop") -> EndpointSlice:
    """The ready endpoints of a Service, on port 8080."""
    return decode(
        EndpointSlice,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        },
    )


def web(namespace: str = "shop") -> tuple[KubeObject, ...]:
    """The Service that `ingress` points to, and two endpoints."""
    return (service(namespace=namespace), endpoints("10.0.0.1", "10.0.0.2", namespace=namespace))
