"""What the controller does after a change had to wait, after a pass failed, and when it is stopped."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from typing_extensions import override

from ingresskit.controller import Controller
from ingresskit.controller.events import EventKind
from ingresskit.errors import ApplyError, ApplyPostponed
from ingresskit.graph import RouteGraph
from ingresskit.sources import MemorySource
from tests.unit.controller.doubles import (
    DEADLINE,
    QUICK,
    HostsRenderer,
    RecordingApplier,
    ingress,
    running,
    wait_until,
    web,
)
from tests.unit.controller.test_isolation import CheckedApplier

pytestmark = pytest.mark.anyio

A = ingress("a", "a.test")
SOON = timedelta(milliseconds=10)


async def test_a_change_that_waited_and_went_live_causes_no_further_pass() -> None:
    applier = RecordingApplier(ApplyPostponed("too soon", retry_after=SOON))
    controller = Controller(
        source=MemorySource([A, *web()]), renderer=HostsRenderer(), applier=applier, settings=QUICK
    )

    async with running(controller):
        await controller.wait_applied(1)
        passes = controller.statistics().passes
        await anyio.sleep(20 * SOON.total_seconds())

        assert controller.statistics().passes == passes == 2


async def test_while_a_change_waits_no_pass_is_running_and_the_apply_was_counted() -> None:
    applier = RecordingApplier(ApplyPostponed("too soon", retry_after=timedelta(hours=1)))
    controller = Controller(
        source=MemorySource([A, *web()]), renderer=HostsRenderer(), applier=applier, settings=QUICK
    )

    async with running(controller):
        await applier.entered.wait()
        await wait_until(lambda: controller.statistics().pass_running is None)
        statistics = controller.statistics()

    assert statistics.passes == 1
    assert statistics.pass_stage is None
    assert statistics.passes_duration > timedelta(0)
    assert statistics.applies_duration > timedelta(0)


async def test_the_event_of_a_failed_pass_says_why_where_and_when_it_is_tried_again() -> None:
    applier = RecordingApplier(ApplyError("the disk is full"))
    controller = Controller(
        source=MemorySource([A, *web()]), renderer=HostsRenderer(), applier=applier, settings=QUICK
    )
    with controller.subscribe() as events:
        async with running(controller):
            while (event := await anext(events)).kind is not EventKind.APPLY:
                pass

    facts = event.facts
    assert facts["ok"] is False
    assert "the disk is full" in str(facts["reason"])
    assert facts["stage"] == "apply"
    assert isinstance(facts["retrySeconds"], float)


async def test_a_renderer_that_hangs_in_the_search_for_an_object_at_fault_delays_no_stop() -> None:
    release, searching = threading.Event(), threading.Event()

    class Hanging(HostsRenderer):
        @override
        def render(self, graph: RouteGraph) -> tuple[str, ...]:
            if self.calls:
                searching.set()
                release.wait(2 * DEADLINE)
            return super().render(graph)

    applier = CheckedApplier("a.test")
    controller = Controller(
        source=MemorySource([A, ingress("b", "b.test"), *web()]),
        renderer=Hanging(),
        applier=applier,
        settings=replace(QUICK, apply_timeout=timedelta(seconds=DEADLINE)),
    )

    try:
        async with running(controller):  # whose deadline a stop that waits for the renderer does not meet
            await wait_until(searching.is_set)
    finally:
        release.set()
