from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from ingresskit.controller import Controller, Health
from ingresskit.errors import ApplyError, SourceError
from ingresskit.graph import RouteGraph
from ingresskit.sources import MemorySource
from tests.unit.controller.doubles import (
    DEADLINE,
    QUICK,
    HostsRenderer,
    LateSource,
    RecordingApplier,
    ingress,
    running,
    wait_until,
    web,
)

pytestmark = pytest.mark.anyio

A = ingress("a", "a.test")


async def test_readiness_names_what_is_missing_step_by_step() -> None:
    source, applier = LateSource(), RecordingApplier(*[ApplyError("no proxy")] * 1000)
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)
    health = Health(controller)

    new = health.readiness()
    async with running(controller):
        await anyio.wait_all_tasks_blocked()
        empty = health.readiness()
        source.deliver(A, *web())
        await wait_until(lambda: controller.statistics().failures_in_row > 0)
        failing = health.readiness()
        applier.errors.clear()
        await controller.wait_applied(1)
        ready = health.readiness()
    stopped = health.readiness()

    assert new.problems == ("the controller has not started",)
    assert empty.problems == ("the source has not delivered all objects yet",)
    assert failing.problems == (
        "the first configuration is not live yet",
        "the last attempt failed at apply: ApplyError: no proxy",
    )
    assert ready.ok
    assert stopped.problems == ("the controller has stopped",)


async def test_passes_that_fail_later_do_not_end_readiness() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)
    health = Health(controller)

    async with running(controller):
        await controller.wait_applied(1)
        applier.errors.extend([ApplyError("no")] * 1000)
        source.apply(ingress("b", "b.test"))
        await wait_until(lambda: controller.statistics().failures_in_row > 1)
        ready, live = health.readiness(), health.liveness()

    assert ready.ok
    assert live.ok


async def test_a_dead_source_is_neither_live_nor_ready() -> None:
    class Dying(MemorySource):
        async def run(self) -> None:
            raise SourceError("the folder is gone")

    controller = Controller(
        source=Dying(), renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK
    )
    health = Health(controller)

    with anyio.fail_after(DEADLINE), pytest.raises(SourceError):
        await controller.run()

    assert health.liveness().problems == ("the source died: SourceError: the folder is gone",)
    assert health.readiness().problems == health.liveness().problems


async def test_a_pass_that_hangs_is_unhealthy_and_stays_ready() -> None:
    release = threading.Event()
    source, renderer = MemorySource([A, *web()]), HostsRenderer()
    settings = replace(QUICK, stall_limit=timedelta(milliseconds=20))
    controller = Controller(source=source, renderer=renderer, applier=RecordingApplier(), settings=settings)
    health = Health(controller)

    def hang(_: RouteGraph) -> None:
        release.wait(DEADLINE)

    try:
        async with running(controller):
            await controller.wait_applied(1)
            before = health.liveness()
            renderer.before = hang
            source.apply(ingress("b", "b.test"))
            await wait_until(lambda: not health.liveness().ok)
            [problem], ready = health.liveness().problems, health.readiness()
    finally:
        release.set()

    assert before.ok
    assert problem.startswith("the pass under way has been at render for ")
    assert problem.endswith(" s, longer than 0.02 s")
    assert ready.ok


async def test_further_conditions_are_asked_too() -> None:
    missing = ["the listener is not bound"]
    controller = Controller(
        source=MemorySource(), renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK
    )
    health = Health(controller, ready=[lambda: missing[0]], live=[lambda: ""])

    async with running(controller):
        await controller.wait_applied(1)
        before = health.readiness()
        missing[0] = ""
        after = health.readiness()

    assert before.problems == ("the listener is not bound",)
    assert after.ok
    assert health.liveness().ok
