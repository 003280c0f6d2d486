"""The controller, the proxy or a part of it is killed, and clients notice as little as can be.

The ids F25 to F37 are those of `tests/faults/README.md`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from ingresskit.testing.traffic import TrafficSettings, open_traffic
from tests.dataplane.controlled import at, served, steady, until_served
from tests.dataplane.controller_process import Plan
from tests.dataplane.faults_scene import proxies, running
from tests.dataplane.planes import KINDS
from tests.dataplane.worlds import STEADY

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kind", ["plain", "reload"])
async def test_controller_killed_at_any_step_of_a_change_loses_nothing(
    plan: Plan, kind: str, kills_wanted: int
) -> None:
    """F27. Before each kind of operation; the proxy serves on, and the next controller ends the change."""
    plan = replace(plan, kind=kind)
    async with running(plan) as made:
        await made.tell(kill_at=0)
        await made.serve(1)
        await made.tell(steps=True)
        steps = (await made.wait(lambda event: event["event"] == "steps"))["names"]
    chosen = spread(len(steps), kills_wanted)
    state = 1
    for step in chosen:
        async with running(at(plan, state)) as made:
            await made.tell(kill_at=step)
            await made.tell(serve=state + 1)
            with anyio.move_on_after(10):
                await made.process.wait()
            if made.process.returncode is None:  # it took fewer steps this time
                await made.kill()
            assert await steady(plan) == 200, f"killed before step {step}, {steps[step - 1]}"
        state += 1
    async with running(at(plan, state)):
        assert await steady(plan) == 200
        assert await served(plan, state - 1, state) == [state]

    assert steps


async def test_killed_controller_is_missed_by_no_client(plan: Plan) -> None:
    """F28, first half: traffic goes on while it is gone, and while the next one takes the proxy over."""
    settings = TrafficSettings(http=plan.http, https=plan.https, hosts=(STEADY,), secure_hosts=(STEADY,))
    async with running(plan) as made, open_traffic(settings) as traffic:
        before = proxies(plan)
        await made.kill()
        await anyio.sleep(0.5)
        async with running(plan):
            adopted = proxies(plan)
            report = await traffic.stop()

    assert before
    assert before <= adopted
    assert report.faults() == ()
    assert report.messages


async def test_next_controller_may_have_other_things_served_at_once(plan: Plan) -> None:
    """F28: what changed while none was there is live with its first pass."""
    kind = KINDS[plan.plane]
    settings = TrafficSettings(
        http=plan.http, https=plan.https, hosts=(STEADY,), secure_hosts=(STEADY,), tunnels=0
    )
    async with running(plan) as made, open_traffic(settings) as traffic:
        await made.kill()
        async with running(at(plan, 1)) as again:
            first = await served(plan, 0, 1, 2)
            await again.serve(2)
            report = await traffic.stop()
            second = await served(plan, 0, 1, 2)

    assert (first, second) == ([1], [2])
    assert report.faults() == () or kind.promise.may_fail


async def test_killed_proxy_is_back_within_two_seconds(plan: Plan) -> None:
    """F28, second half. All of its processes at once: nothing of it is left to bring it back."""
    async with running(plan) as made:
        await made.serve(1)
        for pid in proxies(plan):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        await until_served(plan, 1)
        waited = time.monotonic() - killed
        await made.serve(2)

        assert waited < 2
        assert await served(plan, 0, 1, 2) == [2]


async def test_killed_worker_is_replaced(plan: Plan) -> None:
    """F28: a worker alone, such as by the kernel for want of memory."""
    async with running(plan) as made:
        await made.serve(1)
        workers = sorted(proxies(plan))[1:]
        assert workers
        os.kill(workers[-1], signal.SIGKILL)
        await anyio.sleep(0.2)
        await until_served(plan, 1, seconds=5)
        await made.serve(2)

        assert await served(plan, 0, 1, 2) == [2]


def spread(count: int, most: int) -> list[int]:
    """Up to *most* numbers from 1 to *count*, evenly, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(number * (count - 1) / (most - 1)) for number in range(most)})
