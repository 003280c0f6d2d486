"""A cluster of Services, an informer of them, and a handler that writes down what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal, TypedDict, Unpack

import anyio

from ingresskit.cache import (
    DeletedFinalStateUnknown,
    EventHandler,
    ListerWatcher,
    ObjectDecoder,
    ReflectorSettings,
    SharedInformer,
)
from ingresskit.kube import ResourceKind
from ingresskit.models import ObjectKey, Service
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.virtual_time import seeded

SERVICES = ResourceKind.of(Service)


class WatcherOptions(TypedDict, total=False):
    label_selector: str
    field_selector: str
    page_size: int
    watch_list: Literal["auto", "never"]


def tree(name: str, namespace: str = "shop", **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": "10.0.0.1", **spec}}


def key(name: str, namespace: str = "shop") -> ObjectKey:
    return ObjectKey(namespace, name)


def put(server: FakeTransport, name: str, namespace: str = "shop", **spec: object) -> Mapping[str, object]:
    return server.put(SERVICES, tree(name, namespace, **spec))


def watcher(
    server: FakeTransport, namespace: str = "", **options: Unpack[WatcherOptions]
) -> ListerWatcher[Service]:
    return ListerWatcher(server, ObjectDecoder(Service), namespace=namespace, **options)


def informer(server: FakeTransport, **options: Unpack[WatcherOptions]) -> SharedInformer[Service]:
    return SharedInformer(watcher(server, **options), settings=ReflectorSettings(), rng=seeded(7))


def verbs(server: FakeTransport) -> list[str]:
    """The requests as text: how the state was asked for, and from where."""
    told: list[str] = []
    for request in server.requests:
        query = request.query
        version = query.get("resourceVersion", "")
        if query.get("sendInitialEvents"):
            told.append(f"stream {version}".strip())
        elif request.verb == "list":
            told.append(f"list {version} {query.get('limit', '')}".strip())
        else:
            told.append(f"watch {version}")
    return told


@asynccontextmanager
async def running(it: SharedInformer[Service]) -> AsyncGenerator[SharedInformer[Service], None]:
    async with anyio.create_task_group() as group:
        await group.start(it.run)
        yield it
        group.cancel_scope.cancel()


async def until(condition: Callable[[], bool], within: float = 600) -> None:
    """Wait for *condition*, looking as the (virtual) clock goes on."""
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds, and the clock is virtual
            await anyio.sleep(0.05)


async def seconds_until(condition: Callable[[], bool], within: float = 3600) -> float:
    began = anyio.current_time()
    await until(condition, within)
    return anyio.current_time() - began


class Log:
    """What a handler was told, as text: ``"+web 101"``, ``"~web 101>102"``, ``"-web 102"``, ``"?web 102"``."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add(self, item: Service) -> None:
        self.told.append(f"+{item.metadata.name} {item.metadata.resource_version}")

    def update(self, old: Service, new: Service) -> None:
        versions = f"{old.metadata.resource_version}>{new.metadata.resource_version}"
        self.told.append(f"~{new.metadata.name} {versions}")

    def delete(self, final: Service | DeletedFinalStateUnknown[Service]) -> None:
        if isinstance(final, DeletedFinalStateUnknown):
            self.told.append(f"?{final.key.name} {final.last.metadata.resource_version}")
        else:
            self.told.append(f"-{final.metadata.name} {final.metadata.resource_version}")

    def handler(
        self, *, predicate: Callable[[Service], bool] | None = None, resync: timedelta = timedelta(0)
    ) -> EventHandler[Service]:
        return EventHandler(
            on_add=self.add,
            on_update=self.update,
            on_delete=self.delete,
            predicate=predicate,
            resync=resync,
        )

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


async def equal(it: SharedInformer[Service], server: FakeTransport) -> None:
    """Wait until the store is what the server has."""
    await until(lambda: same(it, server))


def same(
    it: SharedInformer[Service], server: FakeTransport, within: Callable[[ObjectKey], bool] = lambda _: True
) -> bool:
    held = {k: (s.metadata.uid, s.metadata.resource_version) for k, s in it.store.snapshot().items()}
    wanted: dict[ObjectKey, tuple[str, str]] = {}
    for k, item in server.objects(SERVICES).items():
        metadata: Any = item["metadata"]
        if within(k):
            wanted[k] = (metadata["uid"], metadata["resourceVersion"])
    return held == wanted
