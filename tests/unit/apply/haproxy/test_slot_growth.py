"""New slots in a HAProxy that runs: where it takes new backends, and where it refuses them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from typing_extensions import override

from ingresskit.apply import Dynamic, Reload
from ingresskit.apply.haproxy import HaproxyOptions, PoolSettings
from ingresskit.apply.haproxy.cli import Cli
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.haproxy.slot_growth import make_slots, shortage
from ingresskit.apply.haproxy.slots import USUAL_CLASSES, Slots, pool_sizes
from ingresskit.graph import BackendKey
from ingresskit.policies import Algorithm
from ingresskit.render.haproxy import Capabilities, SlotBackend, SlotClass
from tests.unit.apply.haproxy.conftest import haproxy_binary, needs_haproxy
from tests.unit.apply.haproxy.scene import PATIENT, PLAIN, QUICK, UNUSUAL, scene, wait_until

pytestmark = pytest.mark.anyio

COMMON = SlotClass()
RANDOM = SlotClass(algorithm=Algorithm.RANDOM)
FEW = HaproxyOptions(pools=PoolSettings(first=2), reload_gap=timedelta(seconds=600))
STARTED = {"HAProxy is started": 1}


def _takes_backends() -> bool:
    path = shutil.which(haproxy_binary(), path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return False
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=True)
    return Capabilities.of(said.stdout).adds_backends


needs_growth = pytest.mark.skipif(not _takes_backends(), reason="HAPROXY names no HAProxy of 3.4 or later")


class Scripted(Cli):
    """Answers in HAProxy's place, by the first two words of a command."""

    def __init__(self, **answers: str) -> None:
        super().__init__(Path("nowhere"))
        self._answers = answers
        self.asked: list[str] = []

    @override
    async def worker(self, *words: str, payload: Sequence[str] | None = None) -> str:
        self.asked.append(" ".join(words))
        return self._answers["_".join(words[:2])]


YES = {"add_backend": "New backend registered.", "publish_backend": "Backend published."}


def backend(name: str, slot_class: SlotClass = COMMON) -> SlotBackend:
    return SlotBackend(id=f"b-{name}", key=BackendKey("default", name, 80), slot_class=slot_class)


async def test_a_slot_that_is_made_is_the_next_of_its_class_and_takes_requests() -> None:
    cli, slots = Scripted(**YES), Slots({COMMON: 1, RANDOM: 0}, grows=True)
    slots.take(backend("a"))

    made = await make_slots(RuntimeApi(cli), slots, {COMMON: 2, RANDOM: 1})

    assert made
    assert cli.asked == [
        "add backend round-robin-1.2 from round-robin-1 mode http",
        "publish backend round-robin-1.2",
        "add backend round-robin-1.3 from round-robin-1 mode http",
        "publish backend round-robin-1.3",
        "add backend random-1.1 from random-1 mode http",
        "publish backend random-1.1",
    ]
    assert slots.pools == {COMMON: 3, RANDOM: 1}
    assert [slots.take(backend(name)) for name in "bc"] == ["round-robin-1.2", "round-robin-1.3"]
    assert slots.take(backend("d", RANDOM)) == "random-1.1"


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"add_backend": "Unknown command: 'add backend'"}, id="there is no such command"),
        pytest.param(
            {"add_backend": "New backend registered (no support for dynamic servers: x)"},
            id="servers cannot be added to it",
        ),
        pytest.param({"publish_backend": "No such backend."}, id="no request may be sent to it"),
    ],
)
async def test_a_refusal_leaves_the_slots_as_they_are_and_no_more_are_asked_for(
    answers: dict[str, str],
) -> None:
    cli, slots = Scripted(**(YES | answers)), Slots({COMMON: 1}, grows=True)

    made = await make_slots(RuntimeApi(cli), slots, {COMMON: 5})

    assert not made
    assert slots.pools == {COMMON: 1}
    assert sum(command.startswith("add backend") for command in cli.asked) == 1
    assert slots.fits(COMMON, 1)
    assert not slots.fits(COMMON, 2)


def test_only_what_is_missing_is_made() -> None:
    slots = Slots({COMMON: 2, RANDOM: 0}, grows=True)
    wanted = [backend("a"), backend("b"), backend("c"), backend("d", RANDOM)]

    assert shortage(slots, wanted) == {COMMON: 1, RANDOM: 1}
    assert shortage(slots, wanted[:2]) == {}


def test_a_class_that_is_ready_has_no_slot_and_fits_only_where_slots_can_be_made() -> None:
    sizes = pool_sizes(PoolSettings(first=4), [], [], {}, ready=USUAL_CLASSES)

    assert sizes[COMMON] == 4
    assert sizes[RANDOM] == 0
    assert Slots(sizes, grows=True).fits(RANDOM, 1)
    assert not Slots(sizes).fits(RANDOM, 1)
    assert not Slots(sizes, grows=True).fits(SlotClass(connect=timedelta(seconds=1)), 1)


@pytest.mark.parametrize(
    ("version", "takes"), [("2.6.12", False), ("3.3.9", False), ("3.4.0", True), ("3.10.1", True)]
)
def test_new_backends_are_tried_from_3_4_on(version: str, *, takes: bool) -> None:
    assert Capabilities.of(version).adds_backends is takes


@needs_haproxy
async def test_where_haproxy_refuses_a_slot_it_is_reloaded(short_path: Path) -> None:
    options = HaproxyOptions(
        pools=PoolSettings(first=2), reload_gap=timedelta(milliseconds=1), reload_share=1.0
    )
    async with scene(short_path, options) as at:
        await at.serve(hosts={"a.test": PLAIN})
        live = at.haproxy.supervisor.live
        assert live is not None
        # What 3.4 refuses because the name is taken, versions before it refuse anyway.
        live.slots.grows = True
        name = live.slots.coming(COMMON)
        somebody = Cli(short_path / "master.sock")
        await somebody.worker("add", "backend", name, "from", COMMON.id, "mode", "http")
        hosts = {f"h{number}.test": PLAIN for number in range(30)}
        kind = await at.serve(hosts=hosts)
        answers = {await at.ask(host) for host in hosts}
        reasons = [reason for reason in at.haproxy.reloads if reason not in STARTED]

    assert kind is Dynamic
    assert not live.slots.grows
    assert answers == {200}
    assert len(reasons) == 1
    assert "slots of the kind round-robin-1 are needed" in reasons[0]


@needs_growth
async def test_slots_that_run_out_are_made_without_a_reload(short_path: Path) -> None:
    async with scene(short_path, FEW) as at:
        await at.serve(hosts={"a.test": PLAIN})
        hosts = {f"h{number}.test": PLAIN for number in range(100)}
        kind = await at.serve(hosts=hosts)
        answers = {await at.ask(host) for host in hosts}
        # And some more ahead, for those that come next.
        await wait_until(lambda: (live := at.haproxy.supervisor.live) is not None and not live.slots.low(0.25))
        reloads = dict(at.haproxy.reloads)

    assert kind is Dynamic
    assert answers == {200}
    assert reloads == STARTED


@needs_growth
@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("retries", ["0", "10"])
async def test_a_usual_class_that_has_no_slot_gets_one_without_a_reload(
    short_path: Path, algorithm: Algorithm, retries: str
) -> None:
    async with scene(short_path, PATIENT) as at:
        await at.serve(hosts={"a.test": PLAIN})
        asked = {"load-balancing": algorithm.value, "retries": retries, "read-timeout": "7s"}
        kind = await at.serve(hosts={"a.test": PLAIN, "b.test": asked})
        answers = [await at.ask("a.test"), await at.ask("b.test")]

    assert kind is Dynamic
    assert answers == [200, 200]


@needs_growth
async def test_a_class_with_a_time_of_its_own_to_connect_in_is_reloaded_for(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        kind = await at.serve(hosts={"a.test": UNUSUAL})
        answer = await at.ask("a.test")

    assert kind is Reload
    assert answer == 200


@needs_growth
async def test_a_haproxy_that_dies_comes_back_with_the_slots_that_were_made(short_path: Path) -> None:
    async with scene(short_path, FEW) as at:
        await at.serve(hosts={"a.test": PLAIN})
        hosts = {f"h{number}.test": PLAIN for number in range(30)}
        hosts["r.test"] = {"load-balancing": "random"}
        await at.serve(hosts=hosts)
        live, pid = at.haproxy.supervisor.live, at.haproxy.pid
        assert live is not None
        assert pid is not None
        held = live.slots.held()
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: at.haproxy.pid not in (None, pid))
        while not await at.ask("h0.test"):  # noqa: ASYNC110 - another process is waited for
            await anyio.sleep(0.01)
        answers = {await at.ask(host) for host in hosts}
        after = at.haproxy.supervisor.live
        assert after is not None

    assert answers == {200}
    assert after is not live
    assert after.slots.held() == held


@needs_growth
async def test_slots_that_were_made_are_in_the_configuration_on_disk(short_path: Path) -> None:
    program = short_path / "configurations/current/haproxy.cfg"
    async with scene(short_path, QUICK) as at:
        await at.serve(hosts={"a.test": PLAIN})
        before = program.read_text()
        await at.serve(hosts={"a.test": {"load-balancing": "random"}})
        live = at.haproxy.supervisor.live
        assert live is not None
        await wait_until(lambda: f"backend random-1.{live.slots.pools[RANDOM]} from" in program.read_text())
        reloads = dict(at.haproxy.reloads)

    assert "backend random-1.1 from" not in before
    assert live.slots.pools[RANDOM] >= PoolSettings().others
    assert reloads == STARTED
