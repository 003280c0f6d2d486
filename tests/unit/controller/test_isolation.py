from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ingresskit.apply import NoOp, Plan
from ingresskit.controller import Controller, State
from ingresskit.controller.isolation import GraphRefusal, isolate
from ingresskit.controller.quarantine import Refusal
from ingresskit.diagnostics import Reason
from ingresskit.errors import ApplyError, ApplyPostponed, CheckFailed
from ingresskit.graph import Respond, RouteGraph, Withholding, parts_by_object
from ingresskit.models import Ingress, ObjectKey, ObjectRef, Snapshot
from ingresskit.sources import MemorySource
from ingresskit.translate import translate
from tests.unit.controller.doubles import (
    QUICK,
    Hosts,
    HostsRenderer,
    RecordingApplier,
    ingress,
    running,
    wait_until,
    web,
)

A, B, C = (ingress(name, f"{name}.test") for name in "abc")


def graph_of(*items: Ingress) -> RouteGraph:
    return translate(Snapshot.of([*items, *web()])).graph


def named(name: str) -> ObjectRef:
    return ObjectRef("Ingress", ObjectKey("shop", name))


def many(count: int, path: str = "/") -> list[Ingress]:
    return [ingress(f"i{number:03}", f"h{number:03}.test", path) for number in range(count)]


class Checker:
    """Refuses graphs that have content of the objects in `bad`; counts."""

    def __init__(self, *bad: str, telling: bool = False, structure: bool = False) -> None:
        self.bad = {named(name) for name in bad}
        self.telling = telling
        self.structure = structure
        self.asked = 0

    async def probe(self, graph: RouteGraph) -> GraphRefusal | None:
        self.asked += 1
        found = sorted(subject for subject in self.bad if self._has(graph, subject))
        if not found:
            return None
        return GraphRefusal(
            saying=f"no {found[0].key.name}", subjects=frozenset(found[:1] if self.telling else ())
        )

    def _has(self, graph: RouteGraph, subject: ObjectRef) -> bool:
        routes = [route for host in graph.virtual_hosts for route in host.routes]
        return any(
            route.origin.subject == subject and (self.structure or not isinstance(route.action, Respond))
            for route in routes
        )


def search(graph: RouteGraph, served: RouteGraph | None, checker: Checker) -> dict[ObjectRef, Refusal]:
    async def run() -> dict[ObjectRef, Refusal]:
        fault = await checker.probe(graph)
        assert fault is not None
        return dict(await isolate(graph, served, fault, checker.probe))

    return anyio.run(run)


@given(bad=st.sets(st.integers(0, 29), min_size=1, max_size=4), telling=st.booleans(), started=st.booleans())
def test_exactly_the_objects_at_fault_are_found(bad: set[int], telling: bool, started: bool) -> None:
    items = many(30)
    checker = Checker(*(f"i{number:03}" for number in bad), telling=telling)

    found = search(graph_of(*items), graph_of() if started else None, checker)

    assert set(found) == checker.bad
    assert {item.measure for item in found.values()} == {Withholding.CONTENT}


def test_one_of_a_thousand_is_found_in_a_few_trials() -> None:
    checker = Checker("i700")

    found = search(graph_of(*many(1000)), None, checker)

    assert set(found) == {named("i700")}
    assert checker.asked <= 16
    assert found[named("i700")].saying == "no i700"


def test_the_change_is_kept_back_where_there_was_something_before() -> None:
    served = graph_of(A, B)
    graph = graph_of(A, ingress("b", "b.test", "/new"))
    asked: list[RouteGraph] = []

    async def probe(tried: RouteGraph) -> GraphRefusal | None:
        asked.append(tried)
        return (
            GraphRefusal(saying="no")
            if tried.resolve("b.test", "/new") and not tried.resolve("b.test", "/x")
            else None
        )

    found = anyio.run(isolate, graph, served, GraphRefusal(saying="no"), probe)

    assert found == {named("b"): Refusal(measure=Withholding.CHANGE, saying="no")}


def test_an_object_whose_very_paths_are_refused_is_left_out() -> None:
    for telling in (True, False):
        found = search(graph_of(A, B), None, Checker("b", telling=telling, structure=True))

        assert found == {named("b"): Refusal(measure=Withholding.EVERYTHING, saying="no b")}


def test_words_that_point_at_what_is_served_as_it_is_do_not_cost_it() -> None:
    async def probe(graph: RouteGraph) -> GraphRefusal | None:
        return (
            GraphRefusal(saying="duplicate", subjects=frozenset({named("a")}))
            if graph.virtual_host("b.test")
            else None
        )

    found = anyio.run(
        isolate, graph_of(A, B), graph_of(A), GraphRefusal(saying="x", subjects=frozenset({named("a")})), probe
    )

    assert set(found) == {named("b")}


def test_a_fault_that_is_no_objects_doing_blames_nobody() -> None:
    async def probe(graph: RouteGraph) -> GraphRefusal | None:
        return GraphRefusal(saying="no such user")

    found = anyio.run(isolate, graph_of(A, B), graph_of(A), GraphRefusal(saying="no such user"), probe)

    assert found == {}


def test_too_many_at_fault_are_not_looked_for_for_ever() -> None:
    checker = Checker(*(f"i{number:03}" for number in range(60)))

    assert search(graph_of(*many(60)), None, checker) == {}
    assert checker.asked <= 102


class CheckedApplier(RecordingApplier):
    """Its checker takes no host in `bad`."""

    def __init__(self, *bad: str, telling: bool = False) -> None:
        super().__init__()
        self.bad = bad
        self.telling = telling

    async def check(self, artifact: Hosts) -> None:
        for host in artifact:
            if host in self.bad:
                subjects = [named(host.partition(".")[0])] if self.telling else []
                raise CheckFailed(f"[emerg] invalid host {host}", subjects=subjects)

    @override
    async def apply(self, plan: Plan[Hosts]) -> None:
        if not isinstance(plan, NoOp):
            await self.check(plan.artifact)
        await super().apply(plan)


def live_hosts(applier: RecordingApplier) -> list[str]:
    return list(applier.live or ())


class ServedHosts(HostsRenderer):
    """Renders the hosts that have something to forward to."""

    @override
    def render(self, graph: RouteGraph) -> Hosts:
        super().render(graph)
        return tuple(
            host.host
            for host in graph.virtual_hosts
            if any(not isinstance(route.action, Respond) for route in host.routes)
        )


@pytest.mark.anyio
@pytest.mark.parametrize("telling", [True, False], ids=["a checker that names it", "a checker that does not"])
async def test_one_object_that_the_checker_refuses_costs_only_itself(telling: bool) -> None:
    source, applier = MemorySource([A, B, C, *web()]), CheckedApplier("b.test", telling=telling)
    controller = Controller(source=source, renderer=ServedHosts(), applier=applier, settings=QUICK)

    async with running(controller):
        outcome = await controller.wait_applied(1)
        assert live_hosts(applier) == ["a.test", "c.test"]
        assert [str(item.subject) for item in outcome.diagnostics] == ["Ingress shop/b"]
        assert controller.diagnostics == outcome.diagnostics
        assert outcome.diagnostics[0].reason is Reason.PROXY_REFUSED
        assert "invalid host b.test" in outcome.diagnostics[0].message
        refused = outcome.graph.resolve("b.test", "/")
        assert refused is not None
        assert isinstance(refused.action, Respond)

        # Changes of others go on, and the one at fault is not tried again until it changes.
        planned = len(applier.planned)
        source.apply(ingress("d", "d.test"))
        await controller.wait_applied(2)
        assert live_hosts(applier) == ["a.test", "c.test", "d.test"]
        assert len(applier.planned) == planned + 1
        source.apply(ingress("b", "better.test"))
        await controller.wait_applied(3)

    assert live_hosts(applier) == ["a.test", "better.test", "c.test", "d.test"]
    assert controller.diagnostics == ()
    assert controller.statistics().failures_in_row == 0


@pytest.mark.anyio
async def test_a_renderer_that_raises_for_one_object_serves_the_others() -> None:
    def before(graph: RouteGraph) -> None:
        if named("b") in parts_by_object(graph):
            raise ZeroDivisionError("b")

    source, applier = MemorySource([A, B, C, *web()]), RecordingApplier()
    controller = Controller(source=source, renderer=HostsRenderer(before), applier=applier, settings=QUICK)

    async with running(controller):
        outcome = await controller.wait_applied(1)

    assert applier.live == ("a.test", "c.test")
    assert [item.message[:67] for item in outcome.diagnostics] == [
        "the proxy refuses its configuration (ZeroDivisionError: b); it is l"
    ]


@pytest.mark.anyio
async def test_a_checker_that_refuses_everything_is_a_failure_and_what_is_live_stays() -> None:
    source, applier = MemorySource([A, *web()]), CheckedApplier()
    controller = Controller(source=source, renderer=ServedHosts(), applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)
        applier.bad = ("a.test", "b.test")
        source.apply(B)
        await wait_until(lambda: controller.statistics().failures_in_row > 1)
        assert live_hosts(applier) == ["a.test"]
        assert controller.diagnostics == ()
        assert controller.statistics().state is State.RUNNING
        applier.bad = ()
        await controller.wait_applied(2)

    assert live_hosts(applier) == ["a.test", "b.test"]


@pytest.mark.anyio
async def test_what_is_postponed_goes_live_later_and_is_no_failure() -> None:
    wait = QUICK.retry_first
    applier = RecordingApplier(*(ApplyPostponed("too soon", retry_after=wait) for _ in range(3)))
    source = MemorySource([A, *web()])
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)

    async with running(controller):
        await controller.wait_applied(1)

    statistics = controller.statistics()
    assert applier.live == ("a.test",)
    assert statistics.failures_in_row == 0
    assert statistics.last_failure is None
    assert statistics.passes == 4


@pytest.mark.anyio
async def test_whose_change_waits_is_told_so_until_it_is_live() -> None:
    waits = f"warning {Reason.CHANGE_WAITS} Ingress default/a: "
    postponed = ApplyPostponed("soon", retry_after=QUICK.retry_first, subjects=[("Ingress", ("default", "a"))])
    told: list[bool] = []

    def is_told() -> bool:
        return any(str(item).startswith(waits) for item in controller.diagnostics)

    class Watching(RecordingApplier):
        @override
        async def apply(self, plan: Plan[Hosts]) -> None:
            told.append(is_told())
            await super().apply(plan)

    applier = Watching(postponed, postponed)
    source = MemorySource([A, *web()])
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)
    async with running(controller):
        await controller.wait_applied(1)

    assert told == [False, True, True]
    assert not is_told()


@pytest.mark.anyio
async def test_a_search_that_cannot_ask_is_a_failure() -> None:
    class Away(CheckedApplier):
        @override
        async def check(self, artifact: Hosts) -> None:
            raise ApplyError("the disk is full")

        @override
        async def apply(self, plan: Plan[Hosts]) -> None:
            raise CheckFailed("refused")

    source = MemorySource([A, *web()])
    controller = Controller(source=source, renderer=HostsRenderer(), applier=Away(), settings=QUICK)

    async with running(controller):
        await wait_until(lambda: controller.statistics().failures_in_row > 1)

    assert controller.diagnostics == ()
