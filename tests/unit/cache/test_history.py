"""Random histories of a cluster, with random faults, end in a store that is what the cluster is.

The model is the server's own log of what it did to each uid. At the end of each run: the store is the
server's state; each object's steps were told in order; every uid that a handler was told of and that has
gone was told as deleted exactly once; and the server was not asked more often than is decent.

More seeds by hand: ``INGRESSKIT_SEEDS=5000 pytest tests/unit/cache/test_history.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random

import anyio
import pytest

from ingresskit.cache import DeletedFinalStateUnknown, EventHandler, ReflectorSettings, SharedInformer
from ingresskit.errors import ApiError, Expired, Forbidden, TooManyRequests, TransportError, Unauthorized
from ingresskit.models import Service
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.doubles import SERVICES, WatcherOptions, put, running, same, until, watcher
from tests.unit.cache.virtual_time import run, seeded

SEEDS = int(os.environ.get("INGRESSKIT_SEEDS", "200"))
NAMES = [f"s{number}" for number in range(12)]
STEPS = 60


class Observer:
    """A handler that checks, as it is told, that what it is told can be true."""

    def __init__(self, rng: Random, slowest: float) -> None:
        self.rng = rng
        self.slowest = slowest
        self.held: dict[str, int] = {}  # uid: version told last
        self.deleted: list[str] = []
        self.faults: list[str] = []
        self.restored = False

    async def add(self, item: Service) -> None:
        meta = item.metadata
        if meta.uid in self.held:
            self.faults.append(f"{meta.uid} was added twice")
        self.held[meta.uid] = int(meta.resource_version)
        await self.dawdle()

    async def update(self, old: Service, new: Service) -> None:
        before, after = old.metadata, new.metadata
        if before.uid != after.uid:
            self.faults.append(f"{before.uid} became {after.uid}")
        if self.held.get(before.uid) != int(before.resource_version):
            self.faults.append(
                f"{before.uid} was told at {self.held.get(before.uid)}, not {before.resource_version}"
            )
        if int(after.resource_version) <= int(before.resource_version) and not self.restored:
            self.faults.append(
                f"{after.uid} went back from {before.resource_version} to {after.resource_version}"
            )
        self.held[after.uid] = int(after.resource_version)
        await self.dawdle()

    async def delete(self, final: Service | DeletedFinalStateUnknown[Service]) -> None:
        meta = (final.last if isinstance(final, DeletedFinalStateUnknown) else final).metadata
        if self.held.pop(meta.uid, None) is None:
            self.faults.append(f"{meta.uid} was deleted without having been there")
        self.deleted.append(meta.uid)
        await self.dawdle()

    async def dawdle(self) -> None:
        if self.slowest:
            await anyio.sleep(self.rng.random() * self.slowest)
        if self.rng.random() < 0.02:
            raise RuntimeError("a handler that fails now and then")

    def handler(self) -> EventHandler[Service]:
        return EventHandler(on_add=self.add, on_update=self.update, on_delete=self.delete)


def errors(rng: Random) -> ApiError | TransportError:
    retry_after = rng.choice([None, timedelta(seconds=rng.randrange(1, 20))])
    choices: list[ApiError | TransportError] = [
        TransportError("reset"),
        ApiError(status=500, reason="InternalError", retry_after=retry_after),
        ApiError(status=503, retry_after=retry_after),
        ApiError(status=504, reason="Timeout", message="Too large resource version: 9, current: 8"),
        Expired(status=410, reason="Expired"),
        Forbidden(status=403),
        TooManyRequests(status=429, retry_after=retry_after),
        Unauthorized(status=401),
    ]
    return rng.choice(choices)


def faults(server: FakeTransport, rng: Random, observers: list[Observer]) -> Mapping[str, Callable[[], None]]:
    def lose() -> None:
        # Events that get lost without the stream being broken cannot be noticed, by anybody. So it is.
        server.lose_events()
        change(server, rng)
        server.lose_events(False)
        server.compact()
        server.break_watches()

    def restore() -> None:
        for observer in observers:
            observer.restored = True
        backup = server.backup()
        for _ in range(rng.randrange(1, 6)):
            change(server, rng)
        server.restore(backup)

    def switch() -> None:
        server.streams_lists = rng.random() < 0.7
        server.ends_streams = rng.random() < 0.7
        server.sends_bookmarks = rng.random() < 0.7
        server.expires_inside = rng.random() < 0.5
        server.chunk_bytes = rng.choice([0, 0, 5, 300])

    def garble() -> None:
        server.send(
            rng.choice([b"<html>\n", b'{"type":"ADDED"\n', b"\xff\n", b'{"type":"NEW","object":{}}\n', b"\n"])
        )

    def replay() -> None:
        for tree in rng.sample(
            list(server.objects(SERVICES).values()), k=min(2, len(server.objects(SERVICES)))
        ):
            server.send_event(rng.choice(["ADDED", "MODIFIED"]), tree)

    return {
        "end": server.end_watches,
        "break": server.break_watches,
        "cut": lambda: server.break_watches(after=b'{"type":"MODIFIED","object":{"metadata":{"name":"caf\xc3'),
        "stall": server.stall_watches,
        "compact": server.compact,
        "gone": lambda: server.send_error(410, "Expired"),
        "error": lambda: server.send_error(500, rng.choice(["InternalError", "StorageReadError", ""])),
        "throttle": lambda: server.send_error(429, "TooManyRequests"),
        "fail": lambda: server.fail(
            errors(rng), times=rng.randrange(1, 6), verb=rng.choice([None, "list", "watch"])
        ),
        "delay": lambda: server.delay(timedelta(seconds=rng.randrange(1, 40)), times=rng.randrange(1, 3)),
        "bookmark": server.send_bookmarks,
        "lose": lose,
        "restore": restore,
        "switch": switch,
        "garble": garble,
        "replay": replay,
    }


def change(server: FakeTransport, rng: Random) -> None:
    name, namespace = rng.choice(NAMES), rng.choice(["one", "two"])
    existing = list(server.objects(SERVICES))
    match rng.randrange(10):
        case 0 | 1 | 2 if existing:
            server.delete(SERVICES, rng.choice(existing))
        case 3 if existing:
            key = rng.choice(existing)  # gone and made again at once
            server.delete(SERVICES, key)
            put(server, key.name, key.namespace)
        case _:
            put(server, name, namespace, clusterIP=f"10.0.0.{rng.randrange(250)}")


async def history(seed: int) -> None:
    rng = seeded(seed)
    server = FakeTransport()
    for _ in range(rng.randrange(20)):
        change(server, rng)
    observers = [Observer(seeded(seed + 1), 0), Observer(seeded(seed + 2), rng.choice([0.1, 30]))]
    options: WatcherOptions = {
        "page_size": rng.choice([2, 5, 500]),
        "watch_list": rng.choice(["auto", "never"]),
    }
    namespaces = ["one", "two"] if rng.random() < 0.3 else [""]
    it = SharedInformer(
        [watcher(server, namespace, **options) for namespace in namespaces],
        settings=ReflectorSettings(),
        rng=seeded(seed + 3),
    )
    for observer in observers:
        it.add_event_handler(observer.handler())
    happenings = faults(server, rng, observers)
    named = sorted(happenings)
    async with running(it):
        began = anyio.current_time()
        for _ in range(STEPS):
            for _ in range(rng.randrange(4)):
                change(server, rng)
            if rng.random() < 0.5:
                happening = rng.choice(named)
                happenings[happening]()
                if happening == "restore":
                    # One that passes its former version before anybody has looked is found only by the list
                    # after five minutes without contact, which has a test of its own.
                    server.recover()
                    await anyio.sleep(60)
                    await until(lambda: same(it, server), within=400)
            await anyio.sleep(rng.choice([0, 0.01, 1, 10, 60]) * rng.random())
        busy = anyio.current_time() - began
        server.recover()
        server.streams_lists = server.ends_streams = server.sends_bookmarks = True
        await until(lambda: same(it, server), within=240)
        requests = len(server.requests)
        await until(lambda: all(set(o.held) == uids(server) for o in observers), within=3600)

    for observer in observers:
        assert observer.faults == []
        assert len(observer.deleted) == len(set(observer.deleted)) or observer.restored
    # Two paths a step may ask at once (a list after a 410, a watch after a clean end); the rest is paced.
    assert requests <= len(namespaces) * (6 * STEPS + busy)
    assert server.open_watches == 0


def uids(server: FakeTransport) -> set[str]:
    return {tree["metadata"]["uid"] for tree in server.objects(SERVICES).values()}  # type: ignore[index] # pyright: ignore


@pytest.mark.parametrize("part", range(10))
def test_the_store_ends_as_the_cluster_is_and_handlers_were_told_so(part: int) -> None:
    for seed in range(part, SEEDS, 10):
        try:
            run(lambda seed=seed: history(seed), "trio" if seed % 4 == 0 else "asyncio")  # type: ignore[misc]
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
