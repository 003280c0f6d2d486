"""Variants of a path and regular expressions, in the planes that match them by themselves."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Final

import pytest

from ingresskit.filters import decide_all
from ingresskit.graph import PathMatch, Request, Route, RouteGraph, VirtualHost
from ingresskit.models import Snapshot
from ingresskit.policies import (
    AllowedSources,
    AnyValue,
    CookieCondition,
    ExactValue,
    HeaderCondition,
    MethodCondition,
    Pattern,
    PatternValue,
    PolicySet,
    PrefixRewrite,
    QueryCondition,
    Selection,
    Share,
)
from ingresskit.policies.values import parse_networks
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane
from ingresskit.translate import translate
from tests.dataplane.conftest import opened
from tests.dataplane.inprocess_plane import INPROCESS
from tests.dataplane.nginx_plane import NGINX_DYNAMIC
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import get, reply

pytestmark = pytest.mark.anyio

NAMES: Final = ("main", "other", "third")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind.name, marks=[pytest.mark.skip(reason=kind.missing)] if kind.missing else [])
        for kind in (INPROCESS, NGINX_DYNAMIC)
    ],
)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


class World:
    """Three Services whose responses name them, and routes to them."""

    def __init__(self, stage: Stage, graph: RouteGraph) -> None:
        self._stage = stage
        self._graph = graph
        (host,) = graph.virtual_hosts
        self._host = host
        self._routes = {route.match.value.strip("/"): route for route in host.routes}

    def route(
        self,
        match: PathMatch,
        to: str = "main",
        selection: Selection | None = None,
        policies: PolicySet | None = None,
    ) -> Route:
        return replace(
            self._routes[to],
            match=match,
            selection=selection or Selection(),
            policies=policies or PolicySet(),
        )

    async def serve(self, *routes: Route) -> RouteGraph:
        ordered = tuple(sorted(routes, key=lambda route: route.precedence))
        hosts: tuple[VirtualHost, ...] = (replace(self._host, routes=ordered),)
        graph = replace(self._graph, virtual_hosts=hosts)
        await self._stage.plane.serve(graph)
        return graph

    async def asked(self, target: str, fields: Iterable[str] = (), method: str = "GET") -> str:
        """The name of the Service that responds, or the status."""
        client = await self._stage.connect()
        answer = await client.ask(get(target, fields=fields, method=method))
        return answer.body.decode() if answer.status == 200 else str(answer.status)


@pytest.fixture
async def world(stage: Stage) -> World:
    objects = [ingress("web", {HOST: {f"/{name}": name for name in NAMES}})]
    ports = {name: (await stage.endpoint(reply(name.encode()))).port for name in NAMES}
    more = itertools.chain.from_iterable((service(name), *slices(name, [port])) for name, port in ports.items())
    return World(stage, translate(Snapshot.of([ingress_class(), *objects, *more]), OPTIONS).graph)


def expected(graph: RouteGraph, target: str, fields: Iterable[str], method: str) -> str:
    pairs = (field.partition(":") for field in fields)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    request = Request.of(f"http://{HOST}{target}", client="127.0.0.1", method=method, headers=headers)
    (decision,) = decide_all(graph, request)
    return str(decision.reply.status) if decision.reply else decision.backends[0].key.service


CONDITIONS: Final = {
    "a header": HeaderCondition(name="X-Canary", value=ExactValue("always")),
    "any header": HeaderCondition(name="X-Canary", value=AnyValue()),
    "no header": HeaderCondition(name="X-Canary", value=AnyValue(), negated=True),
    "a header by pattern": HeaderCondition(name="X-Canary", value=PatternValue(Pattern("v[0-9]+$"))),
    "a cookie": CookieCondition(name="canary", value=ExactValue("always")),
    "a query parameter": QueryCondition(name="a b", value=ExactValue("c&d")),
    "any query parameter": QueryCondition(name="x"),
    "a method": MethodCondition(method="DELETE"),
    "another method": MethodCondition(method="GET", negated=True),
}
REQUESTS: Final = (
    ("/", (), "GET"),
    ("/", ("X-Canary: always",), "GET"),
    ("/", ("X-CANARY:  v12 ",), "GET"),
    ("/", ("X-Canary: v12x",), "GET"),
    ("/", ("Cookie: a=b; canary=always",), "GET"),
    ("/", ("Cookie: canary=never; canary=always",), "GET"),
    ("/?a+b=c%26d&a+b=e", (), "GET"),
    ("/?x&y=1", (), "GET"),
    ("/?y=x", (), "DELETE"),
)


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
async def test_variant_takes_the_requests_that_fulfil_its_condition(
    world: World, condition: HeaderCondition | CookieCondition | QueryCondition | MethodCondition
) -> None:
    graph = await world.serve(
        world.route(PathMatch.prefix("/")),
        world.route(PathMatch.prefix("/"), "other", Selection(conditions=(condition,))),
    )

    found = [await world.asked(*request) for request in REQUESTS]

    assert found == [expected(graph, *request) for request in REQUESTS]
    assert set(found) == {"main", "other"}


async def test_request_that_every_variant_leaves_goes_on_to_the_next_path(world: World) -> None:
    header = Selection(conditions=(HeaderCondition(name="X-A"),))
    await world.serve(
        world.route(PathMatch.prefix("/")),
        world.route(PathMatch.prefix("/a"), "other", header),
        world.route(PathMatch.exact("/a/b"), "third", header),
    )

    paths = ("/a/b", "/a", "/ab")
    assert [await world.asked(path, ["X-A: 1"]) for path in paths] == ["third", "other", "main"]
    assert [await world.asked(path) for path in paths] == ["main"] * 3


async def test_shares_add_up(world: World) -> None:
    await world.serve(
        world.route(PathMatch.prefix("/")),
        world.route(PathMatch.prefix("/"), "other", Selection(share=Share(1, 2))),
        world.route(PathMatch.prefix("/"), "third", Selection(share=Share(1, 2))),
    )

    found = [await world.asked("/") for _ in range(60)]

    assert set(found) == {"other", "third"}


async def test_policies_of_a_variant_are_its_own(world: World) -> None:
    refused = PolicySet([AllowedSources(networks=parse_networks("192.0.2.0/24"))])
    await world.serve(
        world.route(PathMatch.prefix("/"), policies=refused),
        world.route(PathMatch.prefix("/"), "other", Selection(conditions=(MethodCondition(method="PUT"),))),
    )

    assert await world.asked("/") == "403"
    assert await world.asked("/", method="PUT") == "other"


PATHS: Final = ("/", "/api", "/api/v1", "/api/v1/x", "/api/v2", "/API/V1", "/apix", "/files/a.png", "/x%2Fy")


async def test_patterns_and_paths_take_what_the_graph_says(world: World) -> None:
    graph = await world.serve(
        world.route(PathMatch.prefix("/")),
        world.route(PathMatch.prefix("/api"), "other"),
        world.route(PathMatch.regex("/api/v[0-9]+$"), "third"),
        world.route(PathMatch.regex("/files/.*\\.png$"), "third"),
    )

    assert [await world.asked(path) for path in PATHS] == [expected(graph, path, (), "GET") for path in PATHS]


async def test_host_wide_patterns_are_asked_first(world: World) -> None:
    graph = await world.serve(
        world.route(PathMatch.exact("/api/v1"), "other"),
        world.route(PathMatch.regex("/api/v1", host_wide=True), "third"),
        world.route(PathMatch.regex("/", host_wide=True)),
    )

    assert [await world.asked(path) for path in PATHS] == [expected(graph, path, (), "GET") for path in PATHS]


async def test_elements_that_a_pattern_begins_with_are_rewritten(world: World) -> None:
    rewritten = PolicySet([PrefixRewrite(prefix="/v2")])
    graph = await world.serve(world.route(PathMatch.regex("/api/[a-z]+"), policies=rewritten))
    (decision,) = decide_all(graph, Request.of(f"http://{HOST}/api/list", client="127.0.0.1"))

    assert decision.forwarded == "/v2/list"
    assert await world.asked("/api/list") == "main"
