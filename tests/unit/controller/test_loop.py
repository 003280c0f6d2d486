from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from typing_extensions import override

from ingresskit.apply import Plan
from ingresskit.controller import ApplyKind, Controller, Event, EventKind, Stage, State, Subscription
from ingresskit.errors import ApplyError, ConfigurationError, IngressKitError, RenderError, SourceError
from ingresskit.graph import RouteGraph
from ingresskit.models import Ingress
from ingresskit.sources import MemorySource
from ingresskit.testing import EPOCH
from ingresskit.translate import TranslateOptions
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
B = ingress("b", "b.test")


def revision(source: MemorySource) -> int:
    snapshot = source.snapshot()
    assert snapshot is not None
    return snapshot.revision


async def test_the_first_snapshot_goes_live() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        outcome = await controller.wait_applied(1)

    assert applier.live == ("a.test",)
    assert outcome.artifact == ("a.test",)
    assert outcome.graph.resolve("a.test", "/") is not None


async def test_nothing_is_rendered_before_the_source_is_whole() -> None:
    source, renderer, applier = LateSource(), HostsRenderer(), RecordingApplier()
    controller = Controller(source=source, renderer=renderer, applier=applier, settings=QUICK)

    async with running(controller):
        await anyio.wait_all_tasks_blocked()
        assert renderer.calls == 0
        assert controller.statistics().revision_seen is None
        source.deliver(A, *web())
        await controller.wait_applied(1)

    assert applier.live == ("a.test",)


async def test_a_change_goes_live() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        source.apply(B)
        await controller.wait_applied(revision(source))
        source.delete(Ingress, "shop", "a")
        await controller.wait_applied(revision(source))

    assert applier.applied == [("a.test",), ("a.test", "b.test"), ("b.test",)]


async def test_a_hundred_changes_cost_few_passes_and_the_last_one_is_live() -> None:
    source, applier = MemorySource(web()), RecordingApplier()
    settings = replace(QUICK, settle_quiet=timedelta(milliseconds=500), settle_ceiling=timedelta(seconds=5))
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=settings)

    async with running(controller):
        await controller.wait_applied(1)
        for number in range(100):
            source.apply(ingress(f"i{number}", f"h{number:03}.test"))
            await anyio.lowlevel.checkpoint()
        await controller.wait_applied(revision(source))

    assert applier.live is not None
    assert len(applier.live) == 100
    assert controller.statistics().passes == 2


async def test_changes_without_end_are_served_within_the_ceiling() -> None:
    source, applier = MemorySource(web()), RecordingApplier()
    wait = timedelta(milliseconds=60)
    settings = replace(QUICK, settle_quiet=wait, settle_ceiling=wait)
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=settings)

    async with running(controller):
        await controller.wait_applied(1)
        number = 0
        while len(applier.applied) < 3:  # never quiet for 60 ms
            number += 1
            source.apply(ingress("a", f"h{number}.test"))
            await anyio.sleep(0.005)

    assert len(applier.applied) >= 3


async def test_a_change_during_an_apply_is_not_lost() -> None:
    gate = anyio.Event()
    source, applier = MemorySource([A, *web()]), RecordingApplier(gate=gate)
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        await applier.entered.wait()
        source.apply(B)
        gate.set()
        await controller.wait_applied(revision(source))

    assert applier.applied == [("a.test",), ("a.test", "b.test")]


async def test_an_apply_that_fails_is_tried_again_and_the_old_outcome_stays_meanwhile() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        first = await controller.wait_applied(1)
        applier.errors = [ApplyError("the proxy refuses"), ApplyError("the proxy refuses")]
        with controller.subscribe() as events:
            source.apply(B)
            failed = await _next_apply(events)
            assert controller.outcome is first
            await controller.wait_applied(revision(source))

    statistics = controller.statistics()
    assert failed.facts["reason"] == "ApplyError: the proxy refuses"
    assert applier.live == ("a.test", "b.test")
    assert applier.planned[-1] == (("a.test",), ("a.test", "b.test"))
    assert statistics.failures[Stage.APPLY] == 2
    assert statistics.failures_in_row == 0
    assert statistics.last_failure is not None


async def test_after_an_apply_of_unknown_end_nothing_is_assumed_to_be_live() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        applier.errors = [RuntimeError("half of it")]
        source.apply(B)
        await controller.wait_applied(revision(source))

    assert applier.planned[1:] == [(("a.test",), ("a.test", "b.test")), (None, ("a.test", "b.test"))]


async def test_an_applier_that_hangs_is_cancelled_and_tried_again() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier(gate=anyio.Event())
    settings = replace(QUICK, apply_timeout=timedelta(milliseconds=20))
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=settings)

    async with running(controller):
        await wait_until(lambda: controller.statistics().failures[Stage.APPLY] > 0)
        failure = controller.statistics().last_failure
        applier.gate = None
        await controller.wait_applied(1)

    assert failure is not None
    assert failure.message == "ApplyError: the applier did not finish within 0.02 s"
    assert applier.live == ("a.test",)


@pytest.mark.parametrize("error", [RenderError("no such directive"), ZeroDivisionError()], ids=["known", "bug"])
async def test_a_renderer_that_raises_never_ends_the_loop(error: Exception) -> None:
    broken = False

    def break_down(graph: RouteGraph) -> None:
        if broken:
            raise error

    source, applier = MemorySource([A, *web()]), RecordingApplier()
    renderer = HostsRenderer(break_down)
    controller = Controller(source=source, renderer=renderer, applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        broken = True
        source.apply(B)
        await wait_until(lambda: controller.statistics().failures[Stage.RENDER] >= 3)
        assert controller.statistics().revision_applied == 1
        broken = False
        source.apply(ingress("b", "c.test"))
        await controller.wait_applied(revision(source))

    assert applier.applied == [("a.test",), ("a.test", "c.test")]


async def test_a_plan_that_raises_is_a_failure_of_its_own() -> None:
    class BadPlan(RecordingApplier):
        @override
        def plan(self, old: tuple[str, ...] | None, new: tuple[str, ...]) -> Plan[tuple[str, ...]]:
            raise KeyError("plan")

    controller = Controller(
        source=MemorySource([A, *web()]), renderer=HostsRenderer(), applier=BadPlan(), settings=QUICK
    )

    async with running(controller):
        await wait_until(lambda: controller.statistics().failures[Stage.PLAN] > 0)

    assert controller.outcome is None


async def test_a_change_ends_the_wait_before_a_retry() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier(ApplyError("no"))
    slow = replace(QUICK, retry_first=timedelta(hours=1), retry_ceiling=timedelta(hours=1))
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=slow)

    async with running(controller):
        await wait_until(lambda: controller.statistics().failures_in_row == 1)
        source.apply(B)
        await controller.wait_applied(revision(source))

    assert applier.applied == [("a.test", "b.test")]


async def test_a_renderer_that_hangs_blocks_neither_the_event_loop_nor_cancellation() -> None:
    release, entered = threading.Event(), threading.Event()

    def hang(_: RouteGraph) -> None:
        entered.set()
        release.wait(DEADLINE)

    controller = Controller(
        source=MemorySource([A, *web()]),
        renderer=HostsRenderer(hang),
        applier=RecordingApplier(),
        settings=QUICK,
    )
    try:
        async with running(controller):
            await wait_until(entered.is_set)
            statistics = controller.statistics()
    finally:
        release.set()

    assert statistics.pass_stage is Stage.RENDER
    assert statistics.pass_running is not None
    assert controller.statistics().state is State.STOPPED


async def test_rendering_happens_off_the_event_loop() -> None:
    renderer = HostsRenderer()
    controller = Controller(
        source=MemorySource([A, *web()]), renderer=renderer, applier=RecordingApplier(), settings=QUICK
    )

    async with running(controller):
        await controller.wait_applied(1)

    assert threading.get_ident() not in renderer.threads


class DyingSource(MemorySource):
    """A source whose task ends when told to."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__([A, *web()])
        self.end = anyio.Event()
        self.error = error

    @override
    async def run(self) -> None:
        await self.end.wait()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(SourceError("the folder is gone"), "the folder is gone", id="by a known error"),
        pytest.param(LookupError("bug"), "bug", id="by a bug"),
        pytest.param(None, "the source ended by itself", id="by returning"),
    ],
)
async def test_a_source_that_dies_ends_the_controller_with_its_error(
    error: Exception | None, expected: str
) -> None:
    source = DyingSource(error)
    controller = Controller(source=source, renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK)

    async def end_once_live() -> None:
        await controller.wait_applied(1)
        source.end.set()

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_once_live)
            with pytest.raises(type(error or SourceError()), match=expected):
                await controller.run()

    statistics = controller.statistics()
    assert statistics.state is State.DEAD
    assert "the source died" in statistics.death
    with pytest.raises(IngressKitError, match="ended before revision 99"):
        await controller.wait_applied(99)


async def test_a_controller_runs_once() -> None:
    controller = Controller(
        source=MemorySource(), renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK
    )
    async with running(controller):
        await controller.wait_applied(1)

    with pytest.raises(ConfigurationError, match="runs once"):
        await controller.run()


async def test_an_equal_artifact_is_counted_as_no_op_and_still_applied() -> None:
    source, applier = MemorySource([A, *web()]), RecordingApplier(reload=True)
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        source.apply(ingress("a", "a.test", "/shop"))
        await controller.wait_applied(revision(source))

    statistics = controller.statistics()
    assert statistics.applies == {ApplyKind.RELOAD: 1, ApplyKind.NO_OP: 1, ApplyKind.DYNAMIC: 0}
    assert statistics.revision_applied == revision(source)


async def test_diagnostics_are_logged_when_they_come_and_when_they_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="ingresskit.controller")
    source = MemorySource([A])  # no Service
    controller = Controller(source=source, renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        source.apply(ingress("other", "other.test", namespace="else"), *web("else"))
        await controller.wait_applied(2)
        before = controller.diagnostics
        source.apply(*web())
        await controller.wait_applied(3)

    lines = [record.message for record in caplog.records if record.message.startswith("diagnostic")]
    assert [item.reason for item in before] == ["ServiceNotFound"]
    assert [line.partition(" severity=")[0] for line in lines] == ["diagnostic appeared", "diagnostic gone"]
    for line in lines:
        assert "severity=error reason=ServiceNotFound kind=Ingress namespace=shop object=a " in line
        assert before[0].message.replace('"', "'") in line
    assert controller.diagnostics == ()


async def test_events_tell_what_changed() -> None:
    source = MemorySource([A])
    controller = Controller(source=source, renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK)
    heard: list[Event] = []

    async with running(controller):
        with controller.subscribe() as events:
            async for event in events:
                heard.append(event)
                if event.kind is EventKind.APPLY:
                    break

    assert [event.kind for event in heard] == [EventKind.DIAGNOSTICS, EventKind.GRAPH, EventKind.APPLY]
    assert heard[0].facts == {"appeared": 1, "gone": 0, "errors": 1, "warnings": 0}
    assert heard[1].facts["hosts"] == 1
    assert heard[2].facts["applyKind"] == "dynamic"


async def test_a_subscription_ends_with_the_controller() -> None:
    controller = Controller(
        source=MemorySource(), renderer=HostsRenderer(), applier=RecordingApplier(), settings=QUICK
    )
    with controller.subscribe() as events:
        async with running(controller):
            await controller.wait_applied(1)

        kinds = [event.kind async for event in events]

    assert kinds == [EventKind.GRAPH, EventKind.APPLY]


async def _next_apply(events: Subscription) -> Event:
    async for event in events:
        if event.kind is EventKind.APPLY:
            return event
    raise AssertionError("the controller ended")


def _in_namespace(item: Ingress, namespace: str, *, created: int) -> Ingress:
    moment = EPOCH + timedelta(days=created)
    return replace(item, metadata=replace(item.metadata, namespace=namespace, creation_timestamp=moment))


async def test_a_host_that_is_live_stays_with_its_namespace() -> None:
    source, applier = MemorySource([_in_namespace(A, "late", created=9), *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        first = await controller.wait_applied(1)
        source.apply(_in_namespace(A, "early", created=1))
        second = await controller.wait_applied(revision(source))

    assert second.graph.virtual_hosts[0].owner == "late"
    assert second.claims is first.claims
    assert second.claims.by_host["a.test"].since is not None


async def test_a_host_is_released_when_its_grace_is_over_though_nothing_changes() -> None:
    mine, theirs = _in_namespace(A, "late", created=9), _in_namespace(A, "early", created=1)
    source, applier = MemorySource([mine, *web()]), RecordingApplier()
    controller = Controller(
        source=source,
        renderer=HostsRenderer(),
        applier=applier,
        settings=QUICK,
        options=TranslateOptions(host_claim_grace=timedelta(seconds=2)),
    )

    async with running(controller):
        await controller.wait_applied(1)
        source.apply(theirs)
        source.delete(Ingress, "late", "a")
        held = await controller.wait_applied(revision(source))
        assert held.graph.virtual_hosts == ()
        await wait_until(lambda: controller.outcome is not held)
        released = controller.outcome

    assert released is not None
    assert released.revision == held.revision
    assert released.graph.virtual_hosts[0].owner == "early"
