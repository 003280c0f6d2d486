"""Whatever the proxy, with its delegate: the path and the host that endpoints get."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

import pytest

from ingresskit.models import Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import Answer, FakeEndpoint, Seen, get

pytestmark = pytest.mark.anyio

_NGINX = "nginx.ingress.kubernetes.io/"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


async def serve(
    stage: Stage, endpoint: FakeEndpoint, paths: Sequence[str], annotations: Mapping[str, str]
) -> None:
    """Serve the paths of an Ingress with annotations of ingress-nginx (``nginx:``) and native ones."""
    written = {name.replace("nginx:", _NGINX): text for name, text in annotations.items()}
    snapshot = Snapshot.of(
        [
            ingress_class(),
            ingress(
                "web", {HOST: dict.fromkeys(paths, "web")}, annotations={"tls-redirect": "false", **written}
            ),
            service("web"),
            *slices("web", [endpoint.port]),
        ]
    )
    registry = PolicyRegistry([IngressNginxDialect(), NativeDialect()])
    options = TranslateOptions(destinations=OPTIONS.destinations, policies=registry)
    await stage.plane.serve(translate(snapshot, options).graph)


async def ask(stage: Stage, path: str) -> Answer:
    """On a connection of its own: some ways to refuse a request end it."""
    return await (await stage.connect()).ask(get(path))


async def test_paths_are_made_of_what_the_pattern_of_the_rule_captures(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint, ["~/shop/([a-z]+)(/|$)(.*)"], {"nginx:rewrite-target": "/$3/$1"})

    statuses = [
        (await ask(stage, path)).status
        for path in (
            "/shop/a/x?q=%2e",
            "/SHOP/b",
            "/shop/c//y%2f",
            "/shop/d/..%2fetc",
            "/shop/e/x..%2F",
            "/other",
        )
    ]

    assert statuses == [200, 200, 200, 400, 200, 404]
    assert targets(endpoint) == ["/x/a?q=%2e", "/b", "/y%2F/c", "/x..%2F/e"]


async def test_what_leads_away_after_it_was_rewritten_is_refused(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint, ["~/files(.*)"], {"nginx:rewrite-target": "/data/$1"})

    statuses = [
        (await ask(stage, path)).status for path in ("/files../etc", "/files..%2fetc", "/files..;x", "/files/x")
    ]

    assert statuses == [400, 400, 400, 200]
    assert targets(endpoint) == ["/data/x"]


async def test_paths_are_rewritten_by_a_pattern_of_their_own(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {"rewrite-regex": "/api/v([0-9]+)/(.*)", "rewrite-replacement": "/$2?version=$1"}
    await serve(stage, endpoint, ["/"], annotations)

    for path in ("/api/v2/users?a=b", "/api/v2/a%26b&c", "/api/vx/users", "/api/v1/"):
        assert (await ask(stage, path)).status == 200

    assert targets(endpoint) == [
        "/users?version=2&a=b",
        "/a%26b&c?version=2",
        "/api/vx/users",
        "/?version=1",
    ]


async def test_a_pattern_that_looks_ahead_is_matched_with_a_time_limit(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {"rewrite-regex": "/(?!api/)(?=(a+)+b|x)?(.*)", "rewrite-replacement": "/web/$2"}
    await serve(stage, endpoint, ["/"], annotations)

    statuses = [(await ask(stage, path)).status for path in ("/x", "/api/x", "/" + "a" * 3000)]

    assert statuses == [200, 200, 400]
    assert targets(endpoint) == ["/web/x", "/api/x"]


async def test_endpoints_get_another_host_and_the_name_that_the_client_asked_for(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint, ["/"], {"upstream-host": "inner.example:8080"})
    client = await stage.connect()

    await client.ask(get("/x", fields=["X-Forwarded-Host: forged.example"]))

    (seen,) = endpoint.seen
    assert seen.values("host") == ["inner.example:8080"]
    assert seen.values("x-forwarded-host") == [HOST]


async def test_another_host_and_another_path_go_together(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {"nginx:upstream-vhost": "inner.example", "nginx:rewrite-target": "/v2/$1"}
    await serve(stage, endpoint, ["~/shop/(.*)"], annotations)
    client = await stage.connect()

    await client.ask(get("/shop/x"))

    assert [(one.value("host"), target(one)) for one in endpoint.seen] == [("inner.example", "/v2/x")]


def targets(endpoint: FakeEndpoint) -> list[str]:
    return [target(one) for one in endpoint.seen]


def target(seen: Seen) -> str:
    return seen.line.split(b" ")[1].decode()


async def test_paths_may_be_patterns_that_need_a_time_limit(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    paths = [r"~/(?!admin/)(\w+)/\1/(.*)", "~/(?=(a+)+b|x)?slow"]
    await serve(stage, endpoint, paths, {"nginx:use-regex": "true", "nginx:rewrite-target": "/$1/$2"})

    statuses = [
        (await ask(stage, path)).status
        for path in ("/a/a/x", "/a/b/x", "/admin/admin/x", "/slow", "/" + "a" * 3000)
    ]

    assert statuses == [200, 404, 404, 200, 400]
    assert targets(endpoint) == ["/a/x", "/"]
