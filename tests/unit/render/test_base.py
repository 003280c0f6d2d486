"""What a renderer that lacks something leaves of a graph."""

from __future__ import annotations

from typing import ClassVar

import pytest
from typing_extensions import override

from ingresskit.diagnostics import Reason, Severity
from ingresskit.graph import Forward, Redirect, Respond, Route, RouteGraph
from ingresskit.policies import AllowedSources, LoadBalancing, PlainHttp, Policy, PolicySet
from ingresskit.policies.values import parse_networks
from ingresskit.render import Renderer
from tests.unit.graph.graphs import graph, host, route


class Bare(Renderer[RouteGraph]):
    """Supports nothing but paths."""

    name: ClassVar[str] = "bare"

    @override
    def render(self, graph: RouteGraph) -> RouteGraph:
        return graph


def restricted(*policies: Policy, action: Redirect | None = None) -> tuple[Route, Route, list[Severity]]:
    policy_set = PolicySet(policies)
    given = (
        route("Prefix /", policies=policy_set, action=action)
        if action
        else route("Prefix /", policies=policy_set)
    )
    found = Bare().restrict(graph(host("a.test", given)))
    assert {item.reason for item in found.diagnostics} <= {Reason.POLICY_UNSUPPORTED}
    return given, found.graph.virtual_hosts[0].routes[0], [item.severity for item in found.diagnostics]


def test_a_harmless_policy_that_is_not_supported_leaves_its_route_as_it_is() -> None:
    given, left, severities = restricted(LoadBalancing())

    assert isinstance(given.action, Forward)
    assert left.action == given.action
    assert severities == [Severity.WARNING]


@pytest.mark.parametrize(
    "policy", [AllowedSources(networks=parse_networks("10.0.0.0/8")), PlainHttp(allowed=False)], ids=repr
)
def test_a_protection_that_is_not_supported_closes_its_route(policy: Policy) -> None:
    _, left, severities = restricted(policy, LoadBalancing())

    assert isinstance(left.action, Respond)
    assert (left.action.status, left.action.reason) == (503, Reason.POLICY_UNSUPPORTED)
    assert sorted(severities) == [Severity.ERROR, Severity.WARNING]


def test_a_protection_closes_a_redirect_too() -> None:
    _, left, _ = restricted(PlainHttp(allowed=False), action=Redirect(location="/new"))

    assert isinstance(left.action, Respond)
