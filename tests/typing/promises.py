"""What type checkers promise users of the public names. Checked by mypy and pyright, and never run.

`assert_type` fails the check when a type is not exactly this; an ``ignore`` that is not needed fails
it as well, so each one here is the claim that the line is refused.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import json
from typing import ClassVar, assert_never, assert_type

from typing_extensions import override

from ingresskit import (
    Action,
    Applier,
    Controller,
    Diagnostic,
    FileSource,
    Forward,
    InProcessRenderer,
    MemorySource,
    NoOp,
    ObjectKey,
    Origin,
    Outcome,
    Plan,
    Policy,
    PolicySet,
    Reason,
    Redirect,
    RenderedFile,
    Renderer,
    Rendering,
    Respond,
    Route,
    RouteGraph,
    Snapshot,
    Source,
    __version__,
    reconcile,
)
from ingresskit.graph import digest, dump
from ingresskit.models import Ingress, Service, decode
from ingresskit.policies import Timeouts
from ingresskit.render.inprocess import RoutingTable


def a_policy_is_found_by_its_type(policies: PolicySet) -> None:
    assert_type(policies.get(Timeouts), Timeouts | None)
    assert_type(policies.origin(Timeouts, "connect"), Origin | None)
    policies.get(str)  # type: ignore[type-var]


def an_object_is_found_by_its_kind(snapshot: Snapshot) -> None:
    assert_type(snapshot.get(Service, ObjectKey("shop", "web")), Service | None)
    assert_type(list(snapshot.all(Ingress)), list[Ingress])
    assert_type(decode(Ingress, b"{}"), Ingress)


class FileRenderer(Renderer[Rendering]):
    """Files are the usual artifact."""

    name: ClassVar[str] = "files"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset({Timeouts})

    @override
    def render(self, graph: RouteGraph) -> Rendering:
        return Rendering((RenderedFile.text("graph.json", json.dumps(dump(graph))),))


class TextRenderer(Renderer[str]):
    """Any other type will do."""

    name: ClassVar[str] = "text"

    @override
    def render(self, graph: RouteGraph) -> str:
        return digest(graph)


class WrongRenderer(Renderer[str]):
    """What `render` returns is the type that the class was given."""

    name: ClassVar[str] = "wrong"

    @override
    def render(self, graph: RouteGraph) -> bytes:  # type: ignore[override]
        return b""


class PrintingApplier:
    """An applier needs no base class."""

    def plan(self, old: str | None, new: str) -> Plan[str]:
        return NoOp()

    async def apply(self, plan: Plan[str]) -> None:
        return None


class SleepyApplier:
    """Not one: its `apply` does not wait."""

    def plan(self, old: str | None, new: str) -> Plan[str]:
        return NoOp()

    def apply(self, plan: Plan[str]) -> None:
        return None


class ClusterOfMyOwn:
    """A source needs no base class either."""

    async def run(self) -> None:
        return None

    def snapshot(self) -> Snapshot | None:
        return None

    async def wait_changed(self, revision: int) -> None:
        return None


def whatever_has_the_methods_will_do() -> None:
    applier: Applier[str] = PrintingApplier()
    sleepy: Applier[str] = SleepyApplier()  # type: ignore[assignment]
    sources: list[Source] = [MemorySource(), FileSource("manifests"), ClusterOfMyOwn()]
    del applier, sleepy, sources


def a_controller_wants_a_renderer_and_an_applier_of_one_artifact() -> None:
    controller = Controller(source=MemorySource(), renderer=TextRenderer(), applier=PrintingApplier())
    assert_type(controller, Controller[str])
    assert_type(controller.outcome, Outcome[str] | None)
    Controller(source=MemorySource(), renderer=FileRenderer(), applier=PrintingApplier())  # type: ignore[misc]


def the_outcome_has_the_artifact_of_the_renderer(snapshot: Snapshot) -> None:
    assert_type(reconcile(snapshot, TextRenderer()).artifact, str)
    assert_type(reconcile(snapshot, FileRenderer()).artifact, Rendering)
    assert_type(reconcile(snapshot, InProcessRenderer()).artifact, RoutingTable)
    assert_type(reconcile(snapshot, TextRenderer()).diagnostics, tuple[Diagnostic, ...])


def actions_are_closed(action: Action) -> int:
    match action:
        case Forward():
            return len(action.backends)
        case Redirect() | Respond():
            return action.status
        case _:
            assert_never(action)


def values_are_frozen(route: Route, diagnostic: Diagnostic) -> None:
    assert_type(route.action, Forward | Redirect | Respond)
    assert_type(diagnostic.reason, Reason)
    route.fallback = True  # type: ignore[misc]


def the_version_is_text() -> None:
    version: str = __version__
    del version
