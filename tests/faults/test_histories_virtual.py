"""Random histories of a whole cluster, with random faults, end in the routes a fresh controller would make.

Nothing here takes real time: the API server is in memory and the clock is virtual. A run follows five kinds
of objects, makes snapshots and translates each into a graph, one after the other as a controller does.
At its end the snapshot is what the server holds, and the graph is, byte for byte, that of a translator that
never saw anything else. More seeds by hand: ``INGRESSKIT_SEEDS=5000 pytest tests/faults``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import cast

import anyio
import pytest

from ingresskit.errors import (
    ApiError,
    DecodeError,
    Expired,
    Forbidden,
    NotFound,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from ingresskit.graph import to_json
from ingresskit.kube import ResourceKind
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.sources import ClusterSource
from ingresskit.testing import pace
from ingresskit.testing.fake_transport import FakeTransport
from ingresskit.translate import Translator, translate
from tests.faults.histories import KINDS, Manifest, Versions, change, held, populate, seeded
from tests.unit.cache.virtual_time import run

SEEDS = int(os.environ.get("INGRESSKIT_SEEDS", "200"))
STEPS = 25


class InMemory:
    """The cluster behind a fake transport."""

    def __init__(self, server: FakeTransport) -> None:
        self.server = server

    def put(self, manifest: Manifest) -> None:
        kind = next(ResourceKind.of(model) for model in KINDS if model.kind == manifest["kind"])
        self.server.put(kind, manifest)

    def delete(self, model: type[KubeObject], key: ObjectKey) -> None:
        self.server.delete(ResourceKind.of(model), key)

    def versions(self, model: type[KubeObject]) -> Versions:
        found: Versions = {}
        for key, tree in self.server.objects(ResourceKind.of(model)).items():
            metadata = cast("Mapping[str, str]", tree["metadata"])
            found[key] = metadata["uid"], metadata["resourceVersion"]
        return found

    def all(self) -> dict[type[KubeObject], Versions]:
        return {model: self.versions(model) for model in KINDS}


class Graphs:
    """Translates every snapshot of a source, as a controller does."""

    def __init__(self, source: ClusterSource) -> None:
        self.source = source
        self.made = 0
        self.latest = b""
        self._translator = Translator()

    async def run(self) -> None:
        revision = 0
        while True:
            await self.source.wait_changed(revision)
            snapshot = self.source.snapshot()
            assert snapshot is not None
            revision = snapshot.revision
            self.latest = to_json(self._translator.translate(snapshot).graph)
            self.made += 1


@asynccontextmanager
async def following(server: FakeTransport) -> AsyncGenerator[Graphs]:
    source = ClusterSource(server)
    graphs = Graphs(source)
    async with anyio.create_task_group() as group:
        group.start_soon(source.run)
        group.start_soon(graphs.run)
        yield graphs
        group.cancel_scope.cancel()


async def until(condition: Callable[[], bool], within: float) -> None:
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds, and the clock is virtual
            await anyio.sleep(0.25)


def error(rng: Random) -> ApiError | TransportError:
    retry_after = rng.choice([None, timedelta(seconds=rng.randrange(1, 20))])
    choices: list[ApiError | TransportError] = [
        TransportError("reset"),
        ApiError(status=500, reason="InternalError", retry_after=retry_after),
        ApiError(status=503, retry_after=retry_after),
        ApiError(status=504, reason="Timeout", message="Too large resource version: 9, current: 8"),
        Expired(status=410, reason="Expired"),
        Forbidden(status=403),
        NotFound(status=404),
        TooManyRequests(status=429, retry_after=retry_after),
        Unauthorized(status=401),
    ]
    return rng.choice(choices)


def faults(cluster: InMemory, rng: Random) -> Mapping[str, Callable[[], None]]:
    server = cluster.server

    def lose() -> None:
        # Events lost without the stream being broken can be noticed by nobody, so it is broken.
        server.lose_events()
        change(cluster, rng)
        server.lose_events(False)
        server.compact()
        server.break_watches()

    def restore() -> None:
        backup = server.backup()
        for _ in range(rng.randrange(1, 6)):
            change(cluster, rng)
        server.restore(backup)

    def switch() -> None:
        server.streams_lists = rng.random() < 0.7
        server.ends_streams = rng.random() < 0.7
        server.sends_bookmarks = rng.random() < 0.7
        server.expires_inside = rng.random() < 0.5
        server.chunk_bytes = rng.choice([0, 0, 50, 300])

    def garble() -> None:
        lines = [b"<html>\n", b'{"type":"ADDED"\n', b"\xff\n", b'{"type":"NEW","object":{}}\n', b"\n"]
        server.send(rng.choice(lines))

    return {
        "end": server.end_watches,
        "break": server.break_watches,
        "cut": lambda: server.break_watches(after=b'{"type":"MODIFIED","object":{"metadata":{"name":"caf\xc3'),
        "stall": server.stall_watches,
        "compact": server.compact,
        "gone": lambda: server.send_error(410, "Expired"),
        "error": lambda: server.send_error(500, "InternalError"),
        "throttle": lambda: server.send_error(429, "TooManyRequests"),
        "fail": lambda: server.fail(
            error(rng), times=rng.randrange(1, 12), verb=rng.choice([None, "list", "watch"])
        ),
        "fail one kind": lambda: server.fail(
            error(rng), times=rng.randrange(1, 6), kind=ResourceKind.of(rng.choice(KINDS))
        ),
        "delay": lambda: server.delay(timedelta(seconds=rng.randrange(1, 40)), times=rng.randrange(1, 6)),
        "bookmark": server.send_bookmarks,
        "lose": lose,
        "restore": restore,
        "switch": switch,
        "garble": garble,
    }


async def history(seed: int) -> None:
    rng = seeded(seed)
    server = FakeTransport()
    cluster = InMemory(server)
    populate(cluster, rng, rng.randrange(30))
    happenings = faults(cluster, rng)
    named = sorted(happenings)
    async with following(server) as graphs:
        began = anyio.current_time()
        for _ in range(STEPS):
            for _ in range(rng.randrange(5)):
                change(cluster, rng)
            if rng.random() < 0.6:
                happening = rng.choice(named)
                happenings[happening]()
                if happening == "restore":
                    # A version that is passed again before anybody looks is found by a list after five minutes
                    # without contact only, which has a test of its own; here somebody looks first.
                    server.recover()
                    await anyio.sleep(60)
                    await until(lambda: held(graphs.source.snapshot()) == cluster.all(), within=400)
            await anyio.sleep(rng.choice([0, 0.01, 1, 10, 60]) * rng.random())
        busy = anyio.current_time() - began
        server.recover()
        server.streams_lists = server.ends_streams = server.sends_bookmarks = True
        await until(lambda: held(graphs.source.snapshot()) == cluster.all(), within=400)
        requests = len(server.requests)
        fresh = await fresh_graph(cluster)
        await until(lambda: problems(graphs.source) == () and graphs.latest == fresh, within=400)
        snapshot = graphs.source.snapshot()

    assert snapshot is not None
    assert requests <= len(KINDS) * (6 * STEPS + busy)
    assert graphs.made <= snapshot.revision
    assert server.open_watches == 0


def problems(source: ClusterSource) -> tuple[DecodeError, ...]:
    snapshot = source.snapshot()
    return snapshot.problems if snapshot is not None else ()


async def fresh_graph(cluster: InMemory) -> bytes:
    """What somebody makes who sees the cluster for the first time."""
    async with following(cluster.server) as fresh:
        with anyio.fail_after(pace.within(60)):
            await fresh.source.wait_changed(0)
        snapshot = fresh.source.snapshot()
    assert snapshot is not None
    assert held(snapshot) == cluster.all()
    return to_json(translate(Snapshot(objects=snapshot.objects, revision=1)).graph)


@pytest.mark.parametrize("part", range(10))
def test_the_routes_end_as_those_of_a_fresh_controller_on_a_virtual_clock(part: int) -> None:
    for seed in range(part, SEEDS, 10):
        try:
            run(lambda seed=seed: history(seed), "trio" if seed % 4 == 0 else "asyncio")  # type: ignore[misc]
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
