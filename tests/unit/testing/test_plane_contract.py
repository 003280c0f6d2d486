"""A proxy that breaks a promise of the plane contract is caught."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import ClassVar

import pytest
from typing_extensions import override

from ingresskit.graph import PathKind, RouteGraph
from ingresskit.policies import Policy, TlsRedirect
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing import Scenario, load_scenarios
from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.dataplane.planes import open_inprocess

Change = Callable[[RouteGraph], RouteGraph]


class _Broken(InProcessRenderer):
    """Serves another graph than the one it was given."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    @override
    def render(self, graph: RouteGraph) -> RoutingTable:
        return super().render(self._change(graph))


class _Held(PlaneContract):
    """The contract, held against the in-process proxy behind some renderer."""

    def __init__(self, renderer: InProcessRenderer, feature: str = "path-types") -> None:
        self._renderer = renderer
        self._feature = feature

    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_inprocess(settings, self._renderer)

    @override
    def scenarios(self) -> Sequence[Scenario]:
        return [scenario for scenario in load_scenarios() if scenario.feature == self._feature]


def _without_exact(graph: RouteGraph) -> RouteGraph:
    hosts = [
        replace(host, routes=tuple(item for item in host.routes if item.match.kind is not PathKind.EXACT))
        for host in graph.virtual_hosts
    ]
    return replace(graph, virtual_hosts=tuple(hosts))


def _hostile_takes_all(graph: RouteGraph) -> RouteGraph:
    """As a renderer does that lets the rule of one tenant match every host."""
    hostile = [replace(host, host="victim.test") for host in graph.virtual_hosts if "hostile" in host.host]
    others = [host for host in graph.virtual_hosts if host.host != "victim.test" or not hostile]
    return replace(graph, virtual_hosts=(*others, *hostile[:1]))


def test_a_proxy_that_keeps_its_promises_passes() -> None:
    _Held(InProcessRenderer()).test_every_scenario_is_answered_as_it_says()


def test_wrong_answers_to_scenarios_are_found() -> None:
    with pytest.raises(AssertionError, match=r"path-types: .*the status is 404"):
        _Held(_Broken(_without_exact)).test_every_scenario_is_answered_as_it_says()


def test_wrong_answers_to_odd_requests_are_found() -> None:
    with pytest.raises(AssertionError, match=r"http://a.test/x/?: answered by .*default/one, not by"):
        _Held(_Broken(_without_exact)).test_odd_requests_are_answered_as_the_graph_resolves()


def test_a_tenant_that_takes_the_requests_of_another_is_found() -> None:
    with pytest.raises(AssertionError, match=r"beside a path of type Prefix: GET http://victim.test/"):
        _Held(_Broken(_hostile_takes_all)).test_hostile_objects_change_no_answer_of_others()


def test_what_a_renderer_cannot_do_must_be_declared() -> None:
    class Modest(InProcessRenderer):
        supports: ClassVar[frozenset[type[Policy]]] = InProcessRenderer.supports - {TlsRedirect}

    class Honest(_Held):
        unsupported: ClassVar[frozenset[str]] = frozenset({"TlsRedirect"})

    with pytest.raises(AssertionError, match="TlsRedirect"):
        _Held(Modest(), "policies").test_every_scenario_is_answered_as_it_says()
    with pytest.raises(AssertionError, match="see `unsupported`"):
        Honest(InProcessRenderer(), "policies").test_every_scenario_is_answered_as_it_says()
    Honest(Modest(), "policies").test_every_scenario_is_answered_as_it_says()
