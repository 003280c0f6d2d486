"""One graph for a program and its delegate: what goes where."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import pytest
from typing_extensions import override

from ingresskit.graph import Forward, PathKind, PathMatch, Protocol, Respond, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import Algorithm, BodyLimit, LoadBalancing, Policy, RequestHeaders, TlsRedirect
from ingresskit.render import Renderer
from ingresskit.render.delegate import DELEGATE, Delegated, DelegatingRenderer, HandedOver, Handover
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.render.policies import HandlerTable, Loss, PolicyHandler, Support
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import translate

HOST = "shop.test"


class _HeadersBeyond(PolicyHandler[RequestHeaders, object]):
    policy = RequestHeaders

    @override
    def losses(self, policy: RequestHeaders) -> Iterable[Loss]:
        yield Loss(message="sets no headers", support=Support.DELEGATED)


class _LengthsBeyond(PolicyHandler[BodyLimit, object]):
    policy = BodyLimit

    @override
    def losses(self, policy: BodyLimit) -> Iterable[Loss]:
        yield Loss(message="counts nothing", support=Support.DELEGATED, requests=HandedOver.UNKNOWN_LENGTH)


class _Redirects(PolicyHandler[TlsRedirect, object]):
    policy = TlsRedirect


class Front(Renderer[RouteGraph]):
    """A renderer whose artifact is the graph that it gets."""

    name: ClassVar[str] = "front"
    handlers = HandlerTable((_HeadersBeyond(), _LengthsBeyond(), _Redirects()))
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.H2C})

    @override
    def render(self, graph: RouteGraph) -> RouteGraph:
        return graph


def rendered(*objects: KubeObject) -> tuple[Delegated[RouteGraph], tuple[str, ...]]:
    renderer = DelegatingRenderer(Front(), "/run/front.sock")
    graph = translate(Snapshot.of([ingress_class(), *objects])).graph
    restricted = renderer.restrict(graph)
    return renderer.render(restricted.graph), tuple(item.message for item in restricted.diagnostics)


def world(protocol: str | None = None, **annotations: str) -> list[KubeObject]:
    return [
        ingress("native", {HOST: {"/": "native"}}),
        ingress(
            "web",
            {HOST: {"/web": "web"}},
            annotations={name.replace("_", "-"): value for name, value in annotations.items()},
        ),
        service("native"),
        service("web", app_protocol=protocol),
        endpoint_slice("native", "10.0.0.1"),
        endpoint_slice("web", "10.0.0.2"),
    ]


def test_graph_without_such_a_policy_reaches_the_program_as_it_is() -> None:
    made, messages = rendered(*world())

    assert DELEGATE not in made.front.backends
    assert not made.table.hosts
    assert messages == ()


def test_route_with_a_policy_beyond_the_program_leads_to_the_delegate() -> None:
    made, messages = rendered(*world(request_headers_set="X-Tenant: shop"))

    route = next(route for route in made.front.virtual_hosts[0].routes if route.match.value == "/web")
    assert isinstance(route.action, Forward)
    assert [share.key for share in route.action.backends] == [DELEGATE]
    assert route.policies.get(RequestHeaders) is None
    handover = route.policies.get(Handover)
    assert handover is not None
    assert (handover.words, handover.requests) == (f"{HOST} Prefix /web", HandedOver.ALL)
    assert [item.address for item in made.front.backends[DELEGATE].endpoints] == ["/run/front.sock"]
    assert set(made.table.hosts[HOST].prefixes) == {"/web"}
    assert messages == ()


def test_backends_of_the_delegate_alone_are_not_the_programs() -> None:
    made, _ = rendered(*world(request_headers_set="X-Tenant: shop"))

    assert {key.service for key in made.front.backends} == {"native", "delegate"}
    assert {key.service for key in made.table.backends} == {"web"}


def test_route_of_which_some_requests_are_handed_over_is_in_both() -> None:
    made, _ = rendered(*world(body_limit="1m"))

    route = next(route for route in made.front.virtual_hosts[0].routes if route.match.value == "/web")
    assert isinstance(route.action, Forward)
    assert [share.key.service for share in route.action.backends] == ["web"]
    kinds: set[type[Policy]] = {BodyLimit, Handover}
    assert kinds <= {type(policy) for policy in route.policies}
    assert {key.service for key in made.front.backends} == {"native", "web", "delegate"}
    assert set(made.table.hosts[HOST].prefixes) == {"/web"}


def test_host_with_a_path_that_the_program_cannot_match_is_handed_over_whole() -> None:
    renderer = DelegatingRenderer(Front(), "/run/front.sock")
    graph = translate(Snapshot.of([ingress_class(), *world()])).graph
    (host,) = graph.virtual_hosts
    first, *others = host.routes
    pattern = replace(first, match=PathMatch.regex("/[a-z]+/x"))
    routes = tuple(sorted((pattern, *others), key=lambda route: route.precedence))
    restricted = renderer.restrict(replace(graph, virtual_hosts=(replace(host, routes=routes),)))
    made = renderer.render(restricted.graph)

    (route,) = made.front.virtual_hosts[0].routes
    handover = route.policies.get(Handover)
    assert restricted.diagnostics == ()
    assert (route.match.kind, route.match.value) == (PathKind.PREFIX, "/")
    assert handover is not None
    assert handover.words == f"{HOST} Host /"
    assert made.table.find(HOST, "/abc/x") is not None


def test_endpoints_that_the_delegate_cannot_speak_to_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InProcessRenderer, "protocols", frozenset({Protocol.HTTP}))
    made, messages = rendered(*world("kubernetes.io/h2c", request_headers_set="X-Tenant: shop"))

    assert not made.table.backends[next(iter(made.table.backends))].endpoints
    assert messages == ("the delegate's renderer does not support h2c; its routes respond 503",)


def test_table_can_be_sent_to_another_process_and_has_no_key() -> None:
    secret = tls_secret(HOST, name="cert")
    made, _ = rendered(*world(request_headers_set="X-Tenant: shop"), secret)

    assert pickle.loads(pickle.dumps(made.table)) == made.table  # noqa: S301 - our own
    assert made.table.certificates == {}


def test_route_that_responds_by_itself_is_handed_over_with_a_policy_that_acts_before() -> None:
    annotations = {"cors-origins": "https://a.test"}
    renderer = DelegatingRenderer(
        NginxRenderer(NginxSettings(state="/run/ik"), Capabilities(), mode=Mode.STATIC), "/run/front.sock"
    )
    missing = ingress("gone", {HOST: {"/gone": "gone"}}, annotations=annotations)
    graph = translate(Snapshot.of([ingress_class(), missing])).graph

    made = renderer.render(renderer.restrict(graph).graph)

    assert set(made.table.hosts) == {HOST}


def test_route_that_responds_by_itself_stays_with_the_program() -> None:
    missing = ingress("gone", {HOST: {"/gone": "gone"}}, annotations={"request-headers-set": "X-A: 1"})
    made, _ = rendered(*world(), missing)

    assert not made.table.hosts


def test_path_that_is_too_long_to_be_named_is_closed_and_reported() -> None:
    renderer = DelegatingRenderer(Front(), "/run/front.sock")
    objects = [ingress_class(), *world(request_headers_set="X-Tenant: shop")]
    graph = translate(Snapshot.of(objects)).graph
    (host,) = graph.virtual_hosts
    routes = tuple(
        replace(route, match=PathMatch.prefix("/" + "x" * 3001)) if route.policies else route
        for route in host.routes
    )
    restricted = renderer.restrict(replace(graph, virtual_hosts=(replace(host, routes=routes),)))
    made = renderer.render(restricted.graph)

    route = next(route for route in made.front.virtual_hosts[0].routes if len(route.match.value) > 3000)
    assert isinstance(route.action, Respond)
    assert route.action.status == 503
    assert not made.table.hosts
    (message,) = [item.message for item in restricted.diagnostics]
    assert message.startswith("a path of 3002 characters is too long for the delegate")


class _Balances(PolicyHandler[LoadBalancing, object]):
    policy = LoadBalancing

    @override
    def losses(self, policy: LoadBalancing) -> Iterable[Loss]:
        if policy.algorithm is Algorithm.CLIENT_HASH:
            yield Loss(message="hashes nothing", support=Support.DELEGATED)


class Balancing(Front):
    handlers = HandlerTable((_Balances(), _Redirects()))


def test_route_to_a_backend_whose_policies_are_beyond_the_program_leads_to_the_delegate() -> None:
    renderer = DelegatingRenderer(Balancing(), "/run/front.sock")
    for algorithm, delegated in (("random", False), ("client-hash", True), ("random", False)):
        objects = world(load_balancing=algorithm)
        restricted = renderer.restrict(translate(Snapshot.of([ingress_class(), *objects])).graph)
        made = renderer.render(restricted.graph)

        assert restricted.diagnostics == ()
        assert (DELEGATE in made.front.backends) is delegated
        held = made.table.backends if delegated else made.front.backends
        (backend,) = (item for key, item in held.items() if key.service == "web")
        assert backend.policies.get(LoadBalancing) == LoadBalancing(algorithm=Algorithm(algorithm))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([HandedOver.UNKNOWN_LENGTH], HandedOver.UNKNOWN_LENGTH, id="one"),
        pytest.param(
            [HandedOver.LONG_BODY, HandedOver.UNKNOWN_LENGTH], HandedOver.LONG_BODY, id="one in another"
        ),
        pytest.param([HandedOver.ALL, HandedOver.LONG_BODY], HandedOver.ALL, id="all and some"),
    ],
)
def test_requests_that_any_policy_hands_over_are_handed_over(
    found: list[HandedOver], wanted: HandedOver | None
) -> None:
    assert HandedOver.union(found) is wanted


def test_haproxy_hands_over_long_bodies_where_it_may_send_for_another_time_than_it_waits() -> None:
    annotations = {"read-timeout": "1h", "send-timeout": "1m", "max-body-size": "1Mi"}
    renderer = DelegatingRenderer(HaproxyRenderer(), "/run/front.sock")
    objects = [ingress("web", {HOST: {"/": "web"}}, annotations=annotations), service("web")]
    graph = translate(Snapshot.of([ingress_class(), *objects, endpoint_slice("web", "10.0.0.1")])).graph

    (host,) = renderer.divided(renderer.restrict(graph).graph).virtual_hosts

    (route,) = host.routes
    assert isinstance(route.action, Forward)
    assert [item.key.service for item in route.action.backends] == ["web"]
    handover = route.policies.get(Handover)
    assert handover is not None
    assert handover.requests is HandedOver.LONG_BODY


def test_calls_that_nginx_would_hand_over_are_closed_and_reported() -> None:
    settings = NginxSettings(state="/run/nginx", https=("0.0.0.0:8443",), http2=True)
    front = NginxRenderer(settings, Capabilities(lua=True), mode=Mode.DYNAMIC)
    renderer = DelegatingRenderer(front, "/run/delegate.sock")
    objects = world("grpc", compression="gzip")
    given = translate(Snapshot.of([ingress_class(), *objects])).graph

    restricted = renderer.restrict(given)
    made = renderer.render(restricted.graph)

    assert not made.table.hosts
    assert any("cannot serve endpoints that speak gRPC" in item.message for item in restricted.diagnostics)
