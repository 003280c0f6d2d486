"""How long changes wait until they are live."""

from __future__ import annotations

import time
from datetime import timedelta

import anyio
import pytest

from ingresskit.controller.change_clock import CHANGE_BOUNDS, ChangeClock
from ingresskit.controller.loop_delay import LoopDelay
from ingresskit.controller.tally import Tally
from tests.unit.controller.client import admin_over
from tests.unit.controller.doubles import DEADLINE, ingress, wait_until, web


class Times:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_changes_that_go_live_together_the_first_is_timed() -> None:
    times = Times()
    clock = ChangeClock(times)
    clock.see(1)
    times.now += 2
    clock.see(2)
    times.now += 1
    clock.begin(2)
    times.now += 0.5
    assert clock.waiting == timedelta(seconds=3.5)
    clock.live()

    assert clock.waiting is None
    assert (sum(clock.durations), clock.total) == (1, timedelta(seconds=3.5))
    assert clock.durations[CHANGE_BOUNDS.index(5.0)] == 1


def test_a_change_during_a_pass_waits_for_the_next_one() -> None:
    times = Times()
    clock = ChangeClock(times)
    clock.begin(1)
    times.now += 3
    clock.see(2)
    times.now += 1
    clock.live()
    assert clock.total == timedelta(seconds=4)
    assert clock.waiting == timedelta(seconds=1)

    clock.begin(2)
    times.now += 1
    clock.live()
    assert clock.total == timedelta(seconds=6)


def test_a_pass_that_fails_leaves_the_first_change_waiting() -> None:
    times = Times()
    clock = ChangeClock(times)
    clock.begin(1)
    times.now += 3
    clock.begin(2)
    times.now += 3
    assert clock.waiting == timedelta(seconds=6)
    clock.live()
    assert (sum(clock.durations), clock.total) == (1, timedelta(seconds=6))


def test_a_pass_without_a_change_is_not_timed() -> None:
    clock = ChangeClock(Times())
    clock.begin(1)
    clock.live()
    clock.begin(1)
    clock.live()

    assert sum(clock.durations) == 1


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (9.0, 2)])
def test_a_bound_is_part_of_its_bucket(value: float, bucket: int) -> None:
    tally = Tally((1.0, 2.0))
    tally.observe(value)

    assert tally.counts.index(1) == bucket
    assert tally.total == value


@pytest.mark.anyio
async def test_a_loop_that_is_held_up_is_late() -> None:
    delay = LoopDelay()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delay.run)

            def late() -> bool:
                time.sleep(0.2)  # holds the loop up
                return delay.tally.total > 0.05

            await wait_until(late)
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_scrape_has_the_process_the_interpreter_and_the_waits() -> None:
    async with admin_over(ingress("shop", "shop.test"), *web()) as admin:
        text = (await admin.get("/metrics")).body.decode()
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

        assert float(lines["process_resident_memory_bytes"]) > 1e6
        assert float(lines["process_open_fds"]) > 3
        assert any(name.startswith("python_info{") for name in lines)
        assert any(name.startswith("python_gc_collections_total{") for name in lines)
        assert float(lines["ingresskit_change_to_live_seconds_count"]) == 1
        assert float(lines["ingresskit_change_to_live_seconds_sum"]) > 0
        assert float(lines["ingresskit_change_waiting_seconds"]) == 0
        while not float(lines["ingresskit_loop_delay_seconds_count"]):
            await anyio.sleep(0.05)
            text = (await admin.get("/metrics")).body.decode()
            lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
