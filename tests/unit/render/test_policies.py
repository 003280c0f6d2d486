"""One table says how a renderer honours each policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Never

import pytest
from typing_extensions import override

from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError
from ingresskit.graph import Forward, Respond, Route, RouteGraph
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Order, Origin, Policy, PolicySet, Stage, Timeouts
from ingresskit.render import HandlerTable, Loss, PolicyHandler, Renderer, Restricted, RouteLimit, Support
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import NginxRenderer
from ingresskit.render.nginx.dynamic.renderer import DynamicRenderer
from ingresskit.render.nginx.static.renderer import StaticRenderer
from tests.unit.graph.graphs import graph, host, route


@dataclass(frozen=True, slots=True, kw_only=True)
class First(Policy):
    stage: ClassVar[Stage] = Stage.ADDRESS

    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Policy):
    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    value: int = 0


NO_BIG = Loss(field="value", message="counts to three")
BY_DELEGATE = Loss(field="value", message="counts to two", support=Support.DELEGATED)


class FirstHandler(PolicyHandler[First, list[str]]):
    policy = First
    limitations = (NO_BIG,)

    @override
    def contribute(self, policy: First, draft: list[str]) -> None:
        draft.append(f"first {policy.value}")

    @override
    def losses(self, policy: First) -> Iterable[Loss]:
        if policy.value > 3:
            yield NO_BIG

    @override
    def honoured(self, policy: First) -> First | None:
        return First(value=3) if policy.value < 10 else None


class GuardHandler(PolicyHandler[Guard, list[str]]):
    policy = Guard
    limitations = (BY_DELEGATE,)

    @override
    def contribute(self, policy: Guard, draft: list[str]) -> None:
        draft.append(f"guard {policy.value}")

    @override
    def losses(self, policy: Guard) -> Iterable[Loss]:
        if policy.value > 2:
            yield BY_DELEGATE


TABLE = HandlerTable[PolicyHandler[Never, list[str]]]([GuardHandler(), FirstHandler()])


class Tabled(Renderer[RouteGraph]):
    name: ClassVar[str] = "tabled"
    handlers = TABLE

    @override
    def render(self, graph: RouteGraph) -> RouteGraph:
        return graph


ASKED = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "metadata.annotations[x/first]")


def restricted(renderer: Renderer[RouteGraph], *policies: Policy) -> tuple[Restricted, Route]:
    held = PolicySet(policies, {First: {"value": ASKED}})
    found = renderer.restrict(graph(host("a.test", route("Prefix /", policies=held))))
    return found, found.graph.virtual_hosts[0].routes[0]


def test_what_a_renderer_supports_is_what_has_a_handler() -> None:
    assert Tabled.supports == {First, Guard}
    assert TABLE.support(Timeouts) == (Support.NONE, ())
    assert TABLE.support(First) == (Support.NATIVE, (NO_BIG,))


def test_two_handlers_for_one_policy_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two handlers for the policy First"):
        HandlerTable([FirstHandler(), FirstHandler()])


def test_handlers_contribute_in_the_order_of_their_stages() -> None:
    native: list[str] = []
    turned: list[str] = []
    policies = PolicySet([Guard(value=1), First(value=2), Timeouts()])

    TABLE.contribute(policies, native)
    TABLE.contribute(policies, turned, Order(reversed(Stage)))

    assert native == ["first 2", "guard 1"]
    assert turned == ["guard 1", "first 2"]
    assert [type(item) for item in TABLE.handlers()] == [FirstHandler, GuardHandler]


def test_a_loss_of_one_field_is_reported_where_the_field_was_asked_for() -> None:
    found, left = restricted(Tabled(), First(value=4), Timeouts(read=timedelta(seconds=1)))

    assert {item.message: (item.subject.key.name, item.field) for item in found.diagnostics} == {
        "the tabled renderer counts to three; it is ignored": ("web", "metadata.annotations[x/first]"),
        "the tabled renderer does not support Timeouts; it is ignored": (
            left.origin.subject.key.name,
            left.origin.field,
        ),
    }
    assert {item.severity for item in found.diagnostics} == {Severity.WARNING}
    assert left.policies.get(First) == First(value=3)
    assert left.policies.origin(First, "value") == ASKED
    assert Timeouts in left.policies


def test_a_policy_of_which_nothing_is_left_is_taken_out() -> None:
    _, left = restricted(Tabled(), First(value=10))

    assert First not in left.policies
    assert isinstance(left.action, Forward)


def test_a_partial_loss_of_a_protection_closes_the_route() -> None:
    found, left = restricted(Tabled(), Guard(value=3))

    assert isinstance(left.action, Respond)
    assert left.action.message == "the tabled renderer counts to two"
    assert [(item.severity, item.message) for item in found.diagnostics] == [
        (Severity.ERROR, "the tabled renderer counts to two; the route responds 503")
    ]


def test_what_a_delegate_does_is_no_loss() -> None:
    renderer = Tabled()
    renderer.delegate = True

    found, left = restricted(renderer, Guard(value=3))

    assert found.diagnostics == ()
    assert isinstance(left.action, Forward)
    assert TABLE.judge(left.policies, delegate=True).delegated
    assert not TABLE.judge(PolicySet([Guard(value=1)]), delegate=True).delegated


def test_a_renderer_that_only_says_what_it_supports_has_a_table_of_that() -> None:
    class Saying(Renderer[RouteGraph]):
        name: ClassVar[str] = "saying"
        supports: ClassVar[frozenset[type[Policy]]] = frozenset({Guard})

        @override
        def render(self, graph: RouteGraph) -> RouteGraph:
            return graph

    found, left = restricted(Saying(), Guard(value=3), First())

    assert [item.message for item in found.diagnostics] == [
        "the saying renderer does not support First; it is ignored"
    ]
    assert isinstance(left.action, Forward)


def test_a_subclass_that_supports_less_keeps_the_handlers_of_the_rest() -> None:
    class Less(Tabled):
        supports: ClassVar[frozenset[type[Policy]]] = Tabled.supports - {Guard}

    assert Less.handlers.get(First) is TABLE.get(First)
    assert Guard not in Less.handlers


def test_a_renderer_with_two_lists_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Twice sets both handlers and supports"):
        type("Twice", (Tabled,), {"handlers": TABLE, "supports": frozenset[type[Policy]]()})


def test_a_route_beyond_a_limit_of_the_proxy_responds_503_or_is_left_out() -> None:
    class Short(Tabled):
        @override
        def limit(self, route: Route) -> RouteLimit | None:
            if route.match.value == "/":
                return None
            return RouteLimit(message="holds short paths only", drops=len(route.match.value) > 5)

    given = graph(host("a.test", route("Prefix /much-too-long"), route("Prefix /long"), route("Prefix /")))

    found = Short().restrict(given)

    routes = found.graph.virtual_hosts[0].routes
    assert [(item.match.value, type(item.action)) for item in routes] == [("/long", Respond), ("/", Forward)]
    assert {item.message for item in found.diagnostics} == {
        "the tabled renderer holds short paths only; it is not served",
        "the tabled renderer holds short paths only; the route responds 503",
    }


def test_what_did_not_change_stays_the_same_object() -> None:
    renderer = Tabled()
    same = host("same.test", route("Prefix /", policies=PolicySet([First(value=4)])))
    one = renderer.restrict(graph(same, host("a.test", route("Prefix /"))))

    two = renderer.restrict(graph(same, host("a.test", route("Prefix /new"))))

    assert one.graph.virtual_host("same.test") is two.graph.virtual_host("same.test")
    assert one.graph.virtual_host("same.test") is not same


@pytest.mark.parametrize(
    "renderer",
    [InProcessRenderer, HaproxyRenderer, NginxRenderer, StaticRenderer, DynamicRenderer, DelegatingRenderer],
    ids=lambda renderer: renderer.__name__,
)
def test_no_renderer_overrides_what_is_private_to_its_base(renderer: type[Renderer[object]]) -> None:
    private = {name for name in vars(Renderer) if name.startswith("_restricted")}
    below = renderer.__mro__[: renderer.__mro__.index(Renderer)]

    assert private
    assert [name for kind in below for name in vars(kind) if name in private] == []
