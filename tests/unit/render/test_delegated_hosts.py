"""A host with a route that the program cannot match is handed over whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typing_extensions import override

from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, Effect
from ingresskit.graph import PathMatch, Protocol, Respond, Route, RouteGraph
from ingresskit.policies import AllowedSources, HeaderCondition, Policy, PolicySet, Selection
from ingresskit.policies.values import parse_networks
from ingresskit.render import HandlerTable
from ingresskit.render.delegate import DELEGATE, ChosenRoute, Delegated, DelegatingRenderer, Handover
from ingresskit.render.haproxy import HaproxyArtifact, HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from tests.unit.graph.graphs import WEB, backend, graph, host, route

GUARD = PolicySet([AllowedSources(networks=parse_networks("10.0.0.0/8"))])
CANARY = replace(
    route("Prefix /a", name="canary"), selection=Selection(conditions=(HeaderCondition(name="x-canary"),))
)
PATTERN = replace(route("Prefix /", name="pattern", policies=GUARD), match=PathMatch.regex("/b[0-9]+"))


def renderer() -> DelegatingRenderer[HaproxyArtifact]:
    return DelegatingRenderer(HaproxyRenderer(), "/run/delegate.sock")


def rendered(given: RouteGraph) -> tuple[Delegated[HaproxyArtifact], list[str]]:
    made = renderer()
    restricted = made.restrict(given)
    return made.render(restricted.graph), [item.message for item in restricted.diagnostics]


@pytest.mark.parametrize("odd", [CANARY, PATTERN], ids=["a variant", "a pattern"])
def test_the_delegate_gets_all_routes_of_such_a_host_and_no_other(odd: Route) -> None:
    artifact, messages = rendered(
        graph(host("a.test", odd, "Prefix /a", "Exact /c"), host("b.test", "Prefix /"))
    )

    assert messages == []
    assert artifact.table.whole_hosts == {"a.test"}
    assert set(artifact.table.hosts) == {"a.test"}
    found = artifact.table.find("a.test", "/c")
    assert found is not None
    assert found.route.match == PathMatch.exact("/c")


def test_the_program_forwards_every_path_of_such_a_host() -> None:
    artifact, _ = rendered(graph(host("a.test", CANARY, "Prefix /a", tls=True)))

    rows = [row for block in artifact.front.blocks.values() for row in block.rows]
    keys = {item.key for item in artifact.front.backends.values()}
    assert keys == {DELEGATE}
    assert [row.value for row in rows if row.key.endswith("/chosen")] == ["a.test Host /"]
    assert len([row for row in rows if "|" in row.value]) == 1


def test_a_host_with_routes_of_its_own_only_is_not_whole() -> None:
    artifact, _ = rendered(graph(host("a.test", "Prefix /a")))

    assert artifact.table.whole_hosts == frozenset()
    assert artifact.table.hosts == {}


def test_what_the_delegate_cannot_speak_stays_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InProcessRenderer, "protocols", frozenset({Protocol.HTTP}))
    given = graph(host("a.test", CANARY, "Prefix /a"))
    given = replace(given, backends={WEB: replace(backend(WEB, "10.0.0.1"), protocol=Protocol.H2C)})

    artifact, messages = rendered(given)

    assert artifact.table.hosts == {}
    assert messages == ["the haproxy renderer does not support variants of a path; it is not served"]


def test_hosts_are_not_taken_out_of_falling_through() -> None:
    artifact, messages = rendered(graph(host("a.test", CANARY, "Prefix /a"), fallthrough=True))

    assert artifact.table.hosts == {}
    assert len(messages) == 1


def test_a_whole_host_is_asked_for_in_the_first_table_that_has_all_of_it() -> None:
    whole, _ = rendered(graph(host("a.test", CANARY, "Prefix /a")))
    part = replace(whole.table, whole_hosts=frozenset())
    chosen = ChosenRoute("a.test", None, "/")

    assert chosen.whole([part, whole.table]) is whole.table
    assert chosen.whole([part]) is None


def test_a_handed_over_host_says_so_in_the_words_for_the_delegate() -> None:
    assert Handover(host="*.a.test", match=None).words == "*.a.test Host /"
    assert Handover(host="a.test", match=PathMatch.exact("/x")).words == "a.test Exact /x"


class _Matching(HaproxyRenderer):
    """A program that matches all routes, and leaves allow-sources to its delegate."""

    matches_variants = True
    matches_patterns = True
    handlers = HandlerTable(item for item in HaproxyRenderer.handlers if item.policy is not AllowedSources)

    @override
    def render(self, graph: RouteGraph) -> HaproxyArtifact:
        self.graph = graph
        return HaproxyArtifact()


def matching(given: RouteGraph) -> tuple[RouteGraph, RoutingTable, list[str]]:
    front = _Matching()
    made = DelegatingRenderer(front, "/run/delegate.sock")
    restricted = made.restrict(given)
    table = made.render(restricted.graph).table
    return front.graph, table, [item.message for item in restricted.diagnostics]


@pytest.mark.parametrize("odd", [replace(CANARY, policies=GUARD), PATTERN], ids=["a variant", "a pattern"])
def test_a_policy_of_the_delegate_at_a_route_without_a_name_hands_the_host_over(odd: Route) -> None:
    front, table, messages = matching(graph(host("a.test", odd, "Prefix /a"), host("b.test", "Prefix /")))

    assert messages == []
    assert table.whole_hosts == {"a.test"}
    assert [item.policies.get(Handover) is not None for item in front.virtual_hosts[0].routes] == [True]
    assert [item.policies.get(Handover) is not None for item in front.virtual_hosts[1].routes] == [False]


def test_where_the_host_cannot_be_handed_over_that_route_is_closed() -> None:
    closed = replace(CANARY, policies=GUARD)

    front, table, messages = matching(graph(host("a.test", closed, "Prefix /a"), fallthrough=True))

    assert table.hosts == {}
    assert [isinstance(item.action, Respond) for item in front.virtual_hosts[0].routes] == [True, False]
    assert len(messages) == 1
    assert messages[0].endswith("; the route responds 503")


def test_named_routes_of_such_a_host_are_handed_over_alone() -> None:
    guarded = route("Prefix /g", name="guarded", policies=GUARD)

    front, table, _ = matching(graph(host("a.test", CANARY, "Prefix /a", guarded)))

    assert table.whole_hosts == frozenset()
    assert set(table.hosts["a.test"].prefixes) == {"/g"}
    assert len(front.virtual_hosts[0].routes) == 3


def test_a_policy_that_the_delegate_could_not_import_is_refused() -> None:
    class Local(Policy):
        pass

    with pytest.raises(ConfigurationError, match="define it at the top of a module"):
        DelegatingRenderer(
            HaproxyRenderer(), "/run/s", effects=BUILTIN_EFFECTS.with_policy(Local, lambda _: Effect())
        )
