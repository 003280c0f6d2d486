"""Policies of hosts and backends, and routes that a proxy cannot match, as a renderer restricts them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Never

import pytest
from typing_extensions import override

from ingresskit.graph import Forward, PathMatch, Respond, Route, RouteGraph
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    AllowedSources,
    HeaderCondition,
    LoadBalancing,
    MethodCondition,
    Origin,
    Policy,
    PolicySet,
    Retries,
    Selection,
    Share,
)
from ingresskit.policies.values import parse_networks
from ingresskit.render import HandlerTable, Loss, PolicyHandler, Renderer
from tests.unit.graph.graphs import WEB, backend, graph, host, route

GUARD = PolicySet([AllowedSources(networks=parse_networks("10.0.0.0/8"))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Level(Policy):
    value: int = 0


class LevelHandler(PolicyHandler[Level, object]):
    policy = Level
    limitations = (Loss(field="value", message="has one level"),)

    @override
    def losses(self, policy: Level) -> Iterable[Loss]:
        return self.limitations if policy.value else ()

    @override
    def honoured(self, policy: Level) -> None:
        return None


class Plain(Renderer[RouteGraph]):
    name: ClassVar[str] = "plain"
    handlers = HandlerTable[PolicyHandler[Never, object]]([LevelHandler()]).only([Level, Retries])

    @override
    def render(self, graph: RouteGraph) -> RouteGraph:
        return graph


class Matching(Plain):
    matches_patterns: ClassVar[bool] = True
    matches_variants: ClassVar[bool] = True


def test_the_policies_of_a_host_stand_in_its_routes_where_those_have_none_of_their_own() -> None:
    own = route("Prefix /own", policies=PolicySet([Retries(attempts=3)]))
    given = replace(host("a.test", own, "Prefix /"), policies=PolicySet([Retries(attempts=2)]))

    found = Plain().restrict(graph(given)).graph.virtual_hosts[0]

    assert [item.policies.get(Retries) for item in found.routes] == [Retries(attempts=3), Retries(attempts=2)]
    assert not found.policies


def test_what_is_lost_of_a_policy_of_a_host_is_reported_once_where_it_was_asked_for() -> None:
    asked = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "metadata.annotations[x/level]")
    policies = PolicySet([Level(value=1)], {Level: {"value": asked}})
    given = replace(host("a.test", "Prefix /a", "Prefix /b"), policies=policies)

    found = Plain().restrict(graph(given))

    assert [(item.subject.key.name, item.field) for item in found.diagnostics] == [("web", asked.field)]
    assert all(Level not in item.policies for item in found.graph.virtual_hosts[0].routes)


def test_a_protection_of_a_host_that_cannot_be_honoured_closes_all_its_routes() -> None:
    given = replace(host("a.test", "Prefix /a", "Prefix /b"), policies=GUARD)

    found = Plain().restrict(graph(given)).graph.virtual_hosts[0]

    assert [type(item.action) for item in found.routes] == [Respond, Respond]


def test_a_protection_of_a_backend_that_cannot_be_honoured_takes_its_endpoints() -> None:
    guarded = replace(backend(WEB, "10.0.0.1"), policies=GUARD)
    given = replace(graph(host("a.test", "Prefix /")), backends={WEB: guarded})

    found = Plain().restrict(given)

    left = found.graph.backends[WEB]
    assert (left.endpoints, left.note) == ((), "the plain renderer does not support AllowedSources")
    assert [(str(item.subject), item.message) for item in found.diagnostics] == [
        ("Service shop/web", "the plain renderer does not support AllowedSources; its routes respond 503")
    ]


def test_a_harmless_policy_of_a_backend_is_only_reported() -> None:
    policies = PolicySet([LoadBalancing()])
    given = replace(
        graph(host("a.test", "Prefix /")), backends={WEB: replace(backend(WEB, "10.0.0.1"), policies=policies)}
    )

    found = Plain().restrict(given)

    assert found.graph.backends[WEB] is given.backends[WEB]
    assert [item.message for item in found.diagnostics] == [
        "the plain renderer does not support LoadBalancing; it is ignored"
    ]


def test_a_policy_for_routes_is_not_taken_as_honoured_where_a_backend_carries_it() -> None:
    policies = PolicySet([Retries(attempts=2)])
    given = replace(
        graph(host("a.test", "Prefix /")), backends={WEB: replace(backend(WEB, "10.0.0.1"), policies=policies)}
    )

    assert [item.message for item in Plain().restrict(given).diagnostics] == [
        "the plain renderer does not support Retries for a backend; it is ignored"
    ]


def variant(path: str) -> Route:
    return replace(route(f"Prefix {path}", name="canary"), selection=Selection(share=Share(10)))


def pattern(text: str, policies: PolicySet | None = None) -> Route:
    return replace(route("Prefix /", name="pattern", policies=policies), match=PathMatch.regex(text))


def left(given: list[Route | str], renderer: Renderer[RouteGraph]) -> tuple[list[tuple[str, type]], list[str]]:
    found = renderer.restrict(graph(host("a.test", *given)))
    routes = found.graph.virtual_hosts[0].routes
    return [(str(item.match), type(item.action)) for item in routes], [
        item.message for item in found.diagnostics
    ]


def test_the_requests_of_a_variant_go_to_the_other_route_of_its_path() -> None:
    assert left([variant("/a"), "Prefix /a", "Prefix /"], Plain()) == (
        [("Prefix /a", Forward), ("Prefix /", Forward)],
        ["the plain renderer does not support variants of a path; it is not served"],
    )


def test_a_path_that_has_variants_only_is_closed() -> None:
    by_header = replace(variant("/a"), selection=Selection(conditions=(HeaderCondition(name="x-canary"),)))

    assert left([by_header, "Prefix /"], Plain()) == (
        [("Prefix /a", Respond), ("Prefix /", Forward)],
        ["the plain renderer does not support variants of a path; Prefix /a responds 503"],
    )


def test_a_variant_that_protects_what_its_path_does_not_closes_the_path() -> None:
    put = Selection(conditions=(MethodCondition(method="PUT"),))
    guarded = replace(route("Prefix /a", name="put", policies=GUARD), selection=put)

    assert left([guarded, "Prefix /a", "Prefix /"], Plain())[0] == [
        ("Prefix /a", Respond),
        ("Prefix /", Forward),
    ]


def test_a_pattern_that_protects_in_any_case_closes_the_host() -> None:
    routes, _ = left([pattern("(?i)/admin", GUARD), "Prefix /", "Exact /a"], Plain())

    assert routes == [("Exact /a", Forward), ("Prefix /", Respond)]


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        (None, [("Prefix /", Forward)]),
        (GUARD, [("Prefix /admin", Respond), ("Prefix /", Forward)]),
    ],
    ids=["open", "protected"],
)
def test_a_pattern_closes_what_it_may_take_if_it_protects(
    policies: PolicySet | None, wanted: list[tuple[str, type]]
) -> None:
    routes, messages = left([pattern("/admin/[a-z]+", policies), "Prefix /"], Plain())

    assert routes == wanted
    assert "the plain renderer does not support regular expressions as paths" in {
        item.partition(";")[0] for item in messages
    }


def test_a_renderer_that_can_match_them_keeps_them_all() -> None:
    given = host("a.test", variant("/a"), "Prefix /a", pattern("/b.*"))

    found = Matching().restrict(graph(given))

    assert found.graph.virtual_hosts[0] is given
    assert found.diagnostics == ()
