"""Who waits for a reload, and for whom a replaced process is ended."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from ingresskit.apply.haproxy import HaproxyOptions
from ingresskit.apply.haproxy.cli import Cli
from ingresskit.apply.haproxy.cli_responses import Processes, Worker
from ingresskit.apply.haproxy.master import Master
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.haproxy.turns import Turns
from ingresskit.errors import ApplyPostponed

pytestmark = pytest.mark.anyio

_SOON = timedelta(microseconds=1)
_OLD = tuple(Worker(pid=10 + number, reloads=number) for number in (1, 2, 3))


class _Api(RuntimeApi):
    """Lists the processes it is given."""

    old = _OLD

    @override
    async def processes(self) -> Processes:
        return Processes(
            master=1, reloads=3, failed=0, workers=(Worker(pid=10, reloads=0),), old_workers=self.old
        )


class _Master(Master):
    """Ends processes on paper."""

    def __init__(self, state: Path) -> None:
        super().__init__("haproxy", state=state)
        self.ended: list[int] = []
        self.listed = _Api(Cli(state / "x"))
        self.api = self.listed

    @override
    async def end_worker(self, pid: int) -> None:
        self.ended.append(pid)
        self.listed.old = tuple(worker for worker in self.listed.old if worker.pid != pid)


def turns(master: Master, *, grace: timedelta = _SOON) -> Turns:
    return Turns(master, HaproxyOptions(reload_gap=_SOON, reload_share=1.0, old_worker_grace=grace))


async def test_the_oldest_process_ends_for_a_namespace_that_asked_for_few_reloads(short_path: Path) -> None:
    master = _Master(short_path)
    held = turns(master)
    for _ in range(3):
        held.reloaded({"busy"}, 0.0)
    with pytest.raises(ApplyPostponed):
        await held.wait({"quiet"})  # it has just been seen for the first time

    await held.wait({"quiet"})

    assert master.ended == [13]


async def test_a_namespace_that_asked_for_several_reloads_waits(short_path: Path) -> None:
    master = _Master(short_path)
    held = turns(master)
    for _ in range(3):
        held.reloaded({"busy"}, 0.0)

    for _ in range(3):
        with pytest.raises(ApplyPostponed, match="3 replaced processes"):
            await held.wait({"busy"})

    assert not master.ended


async def test_a_process_has_its_time_before_it_ends_for_others(short_path: Path) -> None:
    master = _Master(short_path)
    held = turns(master, grace=timedelta(minutes=1))

    for _ in range(3):
        with pytest.raises(ApplyPostponed, match="the oldest is ended in"):
            await held.wait({"quiet"})

    assert not master.ended


async def test_what_is_nobodys_doing_ends_no_process(short_path: Path) -> None:
    master = _Master(short_path)
    held = turns(master)

    for _ in range(3):
        with pytest.raises(ApplyPostponed):
            await held.wait(frozenset())

    assert not master.ended
