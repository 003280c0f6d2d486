"""Variants and regular expressions, over real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.graph import (
    Backend,
    BackendKey,
    Forward,
    PathMatch,
    Request,
    Route,
    RouteGraph,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.policies import (
    EVERY_REQUEST,
    AllowedSources,
    HeaderCondition,
    PolicySet,
    PrefixRewrite,
    Selection,
    Variant,
)
from ingresskit.policies.values import parse_networks
from ingresskit.proxy import Proxy
from ingresskit.render.inprocess import InProcessRenderer
from tests.unit.proxy.conftest import ORIGIN, Stage, get, make_backend

pytestmark = pytest.mark.anyio


def route(
    service: str, match: PathMatch, selection: Selection = EVERY_REQUEST, policies: PolicySet | None = None
) -> Route:
    action = Forward(backends=(WeightedBackend(BackendKey("shop", service, 80)),))
    return Route(
        match=match, action=action, origin=ORIGIN, selection=selection, policies=policies or PolicySet()
    )


async def serve(stage: Stage, *routes: Route, host: str = "*", policies: PolicySet | None = None) -> Proxy:
    """A proxy for *routes*, each Service of which answers with its name."""
    backends: dict[BackendKey, Backend] = {}
    actions = [item.action for item in routes]
    for service in sorted({item.backends[0].key.service for item in actions if isinstance(item, Forward)}):
        body = service.encode()
        endpoint = await stage.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        made = make_backend(endpoint.port, service=service)
        backends[made.key] = made
    hosts = VirtualHost(
        host=host,
        routes=tuple(sorted(routes, key=lambda item: item.precedence)),
        policies=policies or PolicySet(),
    )
    graph = RouteGraph(virtual_hosts=(hosts,), backends=backends)
    return await stage.proxy(InProcessRenderer().render(graph))


async def asked(stage: Stage, proxy: Proxy, path: str = "/", *fields: str, times: int = 1) -> dict[str, int]:
    """Which Services answer; the status where none does."""
    wire = await stage.connect(proxy)
    found: dict[str, int] = {}
    for _ in range(times):
        answer = await wire.ask(get(path, fields=fields))
        name = answer.body.decode() if answer.status == 200 else str(answer.status)
        found[name] = found.get(name, 0) + 1
    return found


ANY = PathMatch.prefix("/")


@pytest.mark.parametrize(
    ("fields", "service"),
    [
        ((), "main"),
        (("X-Canary: always",), "canary"),
        (("X-Canary: never", "Cookie: canary=always"), "main"),
        (("Cookie: a=b; canary=always",), "canary"),
        (("Cookie: a=b", "Cookie: canary=always"), "canary"),
    ],
)
async def test_a_canary_takes_requests_by_header_and_cookie(
    stage: Stage, fields: tuple[str, ...], service: str
) -> None:
    variant = Variant.canary(header="X-Canary", cookie="canary")
    canaries = [route("canary", ANY, selection) for selection in variant.selections]
    proxy = await serve(stage, route("main", ANY), *canaries)

    assert await asked(stage, proxy, "/", *fields) == {service: 1}


async def test_a_canary_takes_its_share(stage: Stage) -> None:
    (selection,) = Variant.canary(weight=1, total=4).selections
    proxy = await serve(stage, route("main", ANY), route("canary", ANY, selection))

    found = await asked(stage, proxy, times=400)

    # Binomial, 400 draws of 1/4: fewer than 50 or more than 150 come once in 10^8 runs.
    assert set(found) == {"main", "canary"}
    assert 50 < found["canary"] < 150


async def test_a_canary_of_everything_takes_everything(stage: Stage) -> None:
    (selection,) = Variant.canary(weight=100).selections
    proxy = await serve(stage, route("main", ANY), route("canary", ANY, selection))

    assert await asked(stage, proxy, times=50) == {"canary": 50}


async def test_what_a_variant_leaves_goes_to_the_wider_path_or_gets_404(stage: Stage) -> None:
    only = Selection(conditions=(HeaderCondition(name="x-beta"),))
    beta = route("beta", PathMatch.prefix("/api"), only)
    narrow, wide = await serve(stage, beta), await serve(stage, beta, route("main", ANY))

    assert await asked(stage, narrow, "/api", "X-Beta: 1") == {"beta": 1}
    assert await asked(stage, narrow, "/api") == {"404": 1}
    assert await asked(stage, wide, "/api/x") == {"main": 1}


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1", "versions"),
        ("/api/v", "api"),
        ("/api/v1/users", "users"),
        ("/a%2Fx", "main"),
        ("/x.php?a", "php"),
    ],
)
async def test_regular_expressions_take_their_place_among_the_paths(
    stage: Stage, path: str, service: str
) -> None:
    proxy = await serve(
        stage,
        route("main", ANY),
        route("api", PathMatch.prefix("/api")),
        route("users", PathMatch.prefix("/api/v1/users")),
        route("versions", PathMatch.regex("/api/v[0-9]+")),
        route("php", PathMatch.regex(r"/.*\.php$")),
    )

    assert await asked(stage, proxy, path) == {service: 1}


async def test_a_host_of_patterns_ignores_case_and_takes_the_longest(stage: Stage) -> None:
    proxy = await serve(
        stage,
        route("short", PathMatch.regex("/foo", host_wide=True)),
        route("long", PathMatch.regex("/foo/ba[rz]", host_wide=True)),
    )

    assert await asked(stage, proxy, "/FOO/BAZ/x") == {"long": 1}
    assert await asked(stage, proxy, "/foobar") == {"short": 1}
    assert await asked(stage, proxy, "/x") == {"404": 1}


async def test_policies_of_a_host_hold_for_all_its_routes(stage: Stage) -> None:
    office = PolicySet([AllowedSources(networks=parse_networks("203.0.113.0/24"))])
    own = PolicySet([AllowedSources(networks=parse_networks("127.0.0.0/8"))])
    proxy = await serve(
        stage, route("main", ANY), route("open", PathMatch.prefix("/open"), policies=own), policies=office
    )

    assert await asked(stage, proxy) == {"403": 1}
    assert await asked(stage, proxy, "/open") == {"open": 1}


async def test_a_variant_has_policies_of_its_own(stage: Stage) -> None:
    rewrite = PolicySet([PrefixRewrite(prefix="/v2")])
    only = Selection(conditions=(HeaderCondition(name="x-beta"),))
    pattern = PathMatch.regex("(?i)/api/[a-z]+$")
    variant = route("main", pattern, only, rewrite)
    endpoint = await stage.endpoint()
    made = make_backend(endpoint.port, service="main")
    plain = route("main", pattern)
    graph = RouteGraph(
        virtual_hosts=(VirtualHost(host="*", routes=(variant, plain)),), backends={made.key: made}
    )
    proxy = await stage.proxy(InProcessRenderer().render(graph))

    await asked(stage, proxy, "/API/x", "X-Beta: 1")
    await asked(stage, proxy, "/API/x")

    assert [item.line.split()[1] for item in endpoint.seen] == [b"/v2/x", b"/API/x"]
    assert graph.resolve(replace(Request(path="/API/x"), headers={"x-beta": ""}, host="a.test")) is variant
