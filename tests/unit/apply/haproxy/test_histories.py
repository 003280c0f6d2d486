"""Random histories of changes: what HAProxy then has, read back from it, is what it should have."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions, PoolSettings
from ingresskit.errors import ApplyPostponed
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import (
    Bind,
    HaproxyArtifact,
    HaproxyRenderer,
    HaproxySettings,
    MapName,
    certificate_line,
)
from ingresskit.testing import endpoint_slice, ingress, ingress_class, pace, service, tls_secret
from ingresskit.testing.planes import free_port
from ingresskit.translate import DestinationPolicy, TranslateOptions, Translator
from tests.unit.apply.haproxy.conftest import haproxy_binary, needs_haproxy

pytestmark = [pytest.mark.anyio, needs_haproxy]

STEPS = 40
OPTIONS = HaproxyOptions(
    pools=PoolSettings(first=6, others=2),
    reload_gap=timedelta(milliseconds=1),
    reload_share=1.0,
    disk_delay=timedelta(milliseconds=50),
)
ALLOWED = TranslateOptions(destinations=DestinationPolicy(allow=parse_networks("127.0.0.0/8")))
ANNOTATIONS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"body-limit": "1k"},
    {"read-timeout": "7s"},
    {"load-balancing": "random"},
    {"traffic-split": "app-0=1,app-1=2"},
    {"request-headers-set": "X-A: b"},
    {"redirect": "https://elsewhere.test/"},
)


class World:
    """Up to twelve hosts of six Services, which come, go and change."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - guards nothing
        self._hosts: dict[int, tuple[int, int, bool]] = {}
        self._endpoints: dict[int, tuple[tuple[int, ...], bool]] = {}
        self._salt = 0

    def step(self) -> list[KubeObject]:
        """One to four changes; all objects after them."""
        chance = self._random
        for _ in range(chance.randint(1, 4)):
            match chance.randrange(5):
                case 0 | 1:
                    choice = (chance.randrange(6), chance.randrange(len(ANNOTATIONS)), chance.random() < 0.4)
                    self._hosts[chance.randrange(12)] = choice
                case 2:
                    self._hosts.pop(chance.randrange(12), None)
                case 3:
                    pods = tuple(sorted(chance.sample(range(1, 9), chance.randrange(4))))
                    self._endpoints[chance.randrange(6)] = (pods, chance.random() < 0.2)
                case _:
                    self._salt += 1
        return list(self._objects())

    def _objects(self) -> list[KubeObject]:
        objects: list[KubeObject] = [ingress_class()]
        for number in range(6):
            pods, https = self._endpoints.get(number, ((1,), False))
            name = f"app-{number}"
            objects += [
                service(name, app_protocol="https" if https else None),
                endpoint_slice(name, *(f"127.0.0.{pod}" for pod in pods), ports=9),
            ]
        for number, (app, chosen, tls) in self._hosts.items():
            host = f"h{number}.test" if number % 3 else f"*.h{number}.test"
            rules = {host: {"/": f"app-{app}", "=/exact": f"app-{(app + 1) % 6}"}}
            secret = f"tls-{number % 4}"
            objects.append(
                ingress(
                    f"h{number}", rules, annotations=ANNOTATIONS[chosen], tls={secret: [host]} if tls else None
                )
            )
        objects += [
            tls_secret(
                *(f"h{number}.test" for number in range(12)), name=f"tls-{item}", salt=f"{self._salt % 5}"
            )
            for item in range(4)
        ]
        return objects


async def put_live(applier: HaproxyApplier, artifact: HaproxyArtifact) -> None:
    while True:
        try:
            await applier.apply(applier.plan(None, artifact))
        except ApplyPostponed as exc:
            await anyio.sleep(exc.retry_after.total_seconds())
        else:
            return


async def faults(haproxy: Haproxy, artifact: HaproxyArtifact) -> list[str]:
    """Where HAProxy differs from what *artifact* says."""
    api, live = haproxy.master.api, haproxy.supervisor.live
    assert live is not None
    found: list[str] = []
    maps: dict[MapName, dict[str, str]] = {}
    for name in MapName:
        answer = await haproxy.master.api.rows(name.path)
        maps[name] = dict(answer)
        if len(maps[name]) < len(answer):
            found.append(f"{name} has a key twice")
    for name in (MapName.HOSTS, MapName.SPLITS):
        wanted = {pointer.key: value for pointer, value in artifact.pointers.items() if pointer.map is name}
        if maps[name] != wanted:
            found.append(f"{name} is {maps[name]}, not {wanted}")
    for block in artifact.blocks.values():
        found += [f"{row} is missing" for row in block.rows if maps[row.map].get(row.key) != row.value]
    if maps[MapName.SLOTS].keys() != artifact.backends.keys():
        found.append("the slots are not those of the backends")
    # A server that was taken out may be in the list and, once the answer is here, gone from `leaving`: the
    # applier's own loop takes it out at any time.
    leaving = {slot: set(names) for slot, names in live.leaving.items()}
    servers = await api.servers()
    for item, backend in artifact.backends.items():
        slot, _, speaks = maps[MapName.SLOTS].get(item, "").partition("/")
        if (speaks == "none") == bool(backend.servers):
            found.append(f"{item} is said to have {speaks}")
        there = servers.get(slot, {}).keys() - leaving.get(slot, set())
        wanted_servers = {server.name for server in backend.servers}
        if there != wanted_servers:
            found.append(f"{item} has {sorted(there)}, not {sorted(wanted_servers)}")
    lines = sorted(" ".join((line.file, *line.names)) for line in await api.listed("certificates/list.txt"))
    wanted_lines = sorted(("certificates/default.pem !*", *map(certificate_line, artifact.server_names)))
    if lines != wanted_lines:
        found.append(f"the certificates are {lines}, not {wanted_lines}")
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_what_haproxy_has_after_many_changes_is_what_it_should_have(short_path: Path, seed: int) -> None:
    settings = HaproxySettings(http=(Bind("127.0.0.1", free_port()),), https=(Bind("127.0.0.1", free_port()),))
    world, renderer, translator = World(seed), HaproxyRenderer(), Translator(ALLOWED)
    found: list[str] = []
    with anyio.fail_after(pace.within(100)):
        async with Haproxy(settings, state=short_path, program=haproxy_binary(), options=OPTIONS) as haproxy:
            applier = HaproxyApplier(haproxy)
            for step in range(STEPS):
                graph = translator.translate(Snapshot.of(world.step())).graph
                artifact = renderer.render(renderer.restrict(graph).graph)
                await put_live(applier, artifact)
                found += [f"step {step}: {fault}" for fault in await faults(haproxy, artifact)]
            # Nobody asks anything, so whatever was stopped is gone soon.
            with anyio.fail_after(pace.within(10)):
                while (live := haproxy.supervisor.live) is None or live.leaving:  # noqa: ASYNC110 - another process
                    await anyio.sleep(0.01)
            failed = [reason for reason in haproxy.reloads if "failed" in reason]

    assert found == []
    assert failed == []
