"""Random histories through a served cluster, with random faults, end in the routes of a fresh controller.

As ``test_histories_virtual.py``, but over sockets, HTTP and real time, with the controller's own loop and
proxy. More seeds by hand: ``INGRESSKIT_SERVED_SEEDS=500 pytest tests/faults/test_histories_served.py``.
With ``KUBEBUILDER_ASSETS`` set, also against a real API server, whose connections fail on our side.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ingresskit.controller import reconcile
from ingresskit.errors import TransportError
from ingresskit.graph import to_json
from ingresskit.kube import ByteStream, ListOptions, ResourceKind, Response, Transport
from ingresskit.models import KubeObject, ObjectKey
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing.apiserver import (
    Action,
    Answer,
    AnyApiServer,
    ApiServer,
    CloseWatch,
    Cut,
    Delay,
    Disconnect,
    DropEvents,
    Fault,
    HalfOpen,
    Match,
    ReorderEvents,
    RepeatEvents,
    SendLines,
    expired,
    too_large_version,
)
from ingresskit.testing.apiserver.calls import call
from tests.faults.chain import OPTIONS, Chain, Served, chain, until
from tests.faults.histories import (
    KINDS,
    NAMESPACES,
    Cluster,
    Manifest,
    Versions,
    change,
    held,
    populate,
    seeded,
)

SEEDS = int(os.environ.get("INGRESSKIT_SERVED_SEEDS", "20"))
STEPS = 12
PARTS = 5
WATCHES = Match(verbs=["watch"])
ACTIONS: dict[str, Action] = {
    "cut in a line": Cut(inside="line"),
    "reset": Cut(inside="line", reset=True),
    "cut in a character": Cut(inside="character"),
    "closed": CloseWatch(after_seconds=0.05),
    "doubled": RepeatEvents(times=3),
    "half-open": HalfOpen(),
    "HTML in the watch": SendLines(lines=(b"<html>\n",), then="close"),
    "unknown event": SendLines(lines=(b'{"type":"NEW","object":{}}\n',)),
    "too large": SendLines.error(too_large_version(10**9, 1)),
    "410 in the watch": SendLines.error(expired("too old")),
    "410": Answer.of(expired("too old")),
    "429": Answer(status=429, retry_after=1),
    "500": Answer(status=500),
    "502 of a proxy": Answer.html(502),
    "no answer": Disconnect(),
    "slow": Delay(seconds=0.3),
}


class Embedded:
    """The embedded API server as a place for a history."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        server.load(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES
        )

    def put(self, manifest: Manifest) -> None:
        self.server.put(manifest)

    def delete(self, model: type[KubeObject], key: ObjectKey) -> None:
        self.server.delete(ResourceKind.of(model).api_version, model.kind, key.name, key.namespace)

    def versions(self, model: type[KubeObject]) -> Versions:
        return _versions(self.server.list(ResourceKind.of(model).api_version, model.kind))


class Remote:
    """A real API server as a place for a history, by plain requests."""

    def __init__(self, server: AnyApiServer) -> None:
        self.server = server
        for name in NAMESPACES:
            self._call("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, (201, 409))

    def put(self, manifest: Manifest) -> None:
        metadata: Any = manifest["metadata"]
        kind = next(ResourceKind.of(model) for model in KINDS if model.kind == manifest["kind"])
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        self._call("PATCH", f"{path}?fieldManager=history&force=true", manifest, (200, 201))

    def delete(self, model: type[KubeObject], key: ObjectKey) -> None:
        self._call("DELETE", ResourceKind.of(model).path(key.namespace, key.name), None, (200,))

    def versions(self, model: type[KubeObject]) -> Versions:
        query = "?fieldSelector=type%3Dkubernetes.io/tls" if model.kind == "Secret" else ""
        found: Any = self._call("GET", ResourceKind.of(model).path() + query, None, (200,))["items"]
        return _versions(found)

    def clear(self) -> None:
        """Delete what a history left."""
        for model in KINDS:
            for key in self.versions(model):
                if key.namespace in ("", *NAMESPACES):
                    self.delete(model, key)

    def _call(self, method: str, path: str, manifest: Manifest | None, ok: tuple[int, ...]) -> Manifest:
        kind = "application/apply-patch+yaml" if method == "PATCH" else ""
        answer = call(self.server, method, path, manifest, content_type=kind)
        assert answer.status in ok, f"{method} {path}: {answer}"
        return answer.json


class Flaky:
    """A transport whose requests fail, and whose watches break, by chance while it is `bad`."""

    def __init__(self, inner: Transport, rng: Random) -> None:
        self.inner = inner
        self.rng = rng
        self.bad = 0.0
        self.asked = 0

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        self._ask()
        return await self.inner.list(kind, namespace, options)

    @asynccontextmanager
    async def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AsyncGenerator[ByteStream, None]:
        self._ask()
        async with self.inner.watch(kind, namespace, options) as stream:
            yield _FlakyStream(stream, self)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        return await self.inner.request(method, path, query=query, headers=headers, body=body)

    def _ask(self) -> None:
        self.asked += 1
        self.fail()

    def fail(self) -> None:
        if self.rng.random() < self.bad:
            raise TransportError("the test cuts the connection")


class _FlakyStream:
    def __init__(self, inner: ByteStream, transport: Flaky) -> None:
        self._inner = inner
        self._transport = transport

    async def receive(self) -> bytes:
        data = await self._inner.receive()
        self._transport.fail()
        return data


def _versions(manifests: list[Any]) -> Versions:
    return {
        ObjectKey(item["metadata"].get("namespace", ""), item["metadata"]["name"]): (
            item["metadata"]["uid"],
            item["metadata"]["resourceVersion"],
        )
        for item in manifests
    }


def everything(cluster: Cluster) -> Mapping[type[KubeObject], Versions]:
    return {model: cluster.versions(model) for model in KINDS}


def same(running: Chain, cluster: Cluster) -> Callable[[], bool]:
    return lambda: held(running.source.snapshot()) == everything(cluster)


async def settled(running: Chain, server: Served, cluster: Cluster) -> None:
    """Return once what is live is what somebody makes who sees the cluster for the first time.

    Who holds which host is no matter of the cluster but of its history, so that record is given to both.
    """
    # Each look asks the server for everything, so these are not many.
    await until(same(running, cluster), every=0.1)
    async with chain(server) as fresh:
        await until(same(fresh, cluster), every=0.1)
        snapshot = fresh.source.snapshot()
    assert snapshot is not None

    def is_the_same() -> bool:
        outcome = running.controller.outcome
        if outcome is None:
            return False
        known = replace(snapshot, claims=outcome.claims)
        return running.graph() == to_json(reconcile(known, InProcessRenderer(), OPTIONS).graph)

    await until(is_the_same, every=0.1)


async def embedded(seed: int) -> None:
    rng = seeded(seed)
    async with ApiServer(bookmark_seconds=0.3) as server:
        server.set_watch_list(understood=rng.random() < 0.7)
        cluster = Embedded(server)
        populate(cluster, rng)
        async with chain(server) as running:
            for _ in range(STEPS):
                trouble = rng.choice([*sorted(ACTIONS), "lost", "reordered", "restored", "away", "compacted"])
                await _trouble(trouble, server, cluster, running, rng)
                for _ in range(rng.randrange(6)):
                    change(cluster, rng)
                await anyio.sleep(rng.random() * 0.1)
            server.faults.clear()
            await settled(running, server, cluster)

        for model in KINDS:
            assert server.requests.busiest(1.0, resource=ResourceKind.of(model).resource) <= 40, model.kind


async def _trouble(trouble: str, server: ApiServer, cluster: Embedded, running: Chain, rng: Random) -> None:
    if rng.random() < 0.3:
        server.faults.clear()
    match trouble:
        case "lost" | "reordered":
            server.faults.add(
                Fault(action=DropEvents() if trouble == "lost" else ReorderEvents(), match=WATCHES)
            )
            for _ in range(4):
                change(cluster, rng)
            await anyio.sleep(0.02)
            server.faults.clear()
            server.advance()
            server.compact()
            server.drop_connections()
        case "restored":
            revision = server.revision
            for _ in range(rng.randrange(1, 6)):
                change(cluster, rng)
            server.faults.clear()
            await until(same(running, cluster))
            server.restore(revision)
            server.drop_connections()
            await until(same(running, cluster))
        case "away":
            server.refuse_connections()
            change(cluster, rng)
            await anyio.sleep(0.1)
            server.accept_connections()
        case "compacted":
            server.advance()
            server.compact()
            server.drop_connections(reset=True)
        case _:
            match = rng.choice(
                [Match(), WATCHES, Match(resources=["services"]), Match(resources=["ingresses"])]
            )
            server.faults.add(Fault(action=ACTIONS[trouble], match=match, count=rng.randrange(1, 6), seconds=2))


@pytest.mark.parametrize("part", range(PARTS))
def test_the_routes_end_as_those_of_a_fresh_controller(part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        try:
            anyio.run(embedded, seed)
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise


async def remote(server: AnyApiServer, cluster: Remote, seed: int) -> None:
    rng = seeded(seed)
    flaky: list[Flaky] = []

    def around(transport: Transport) -> Transport:
        flaky.append(Flaky(transport, seeded(seed + 1)))
        return flaky[0]

    async with chain(server, around=around) as running:
        await until(lambda: bool(flaky))
        for _ in range(STEPS):
            flaky[0].bad = rng.choice([0, 0.05, 0.3, 1])
            for _ in range(rng.randrange(6)):
                await anyio.to_thread.run_sync(change, cluster, rng)
            await anyio.sleep(rng.random() * 0.2)
        flaky[0].bad = 0
        await settled(running, server, cluster)
    await anyio.sleep(0.1)  # connections with TLS say goodbye after they were closed


def test_connections_that_fail_on_our_side_lose_nothing(api_server: AnyApiServer) -> None:
    cluster = Remote(api_server)
    for seed in range(max(1, SEEDS // 20)):
        try:
            populate(cluster, seeded(seed))
            anyio.run(remote, api_server, cluster, seed)
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
        finally:
            cluster.clear()
