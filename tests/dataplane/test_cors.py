"""What pages of other sites may read, on every plane; on HAProxy with its delegate."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.models import Snapshot
from ingresskit.policies import IngressNginxDialect, PolicyRegistry
from ingresskit.testing import ingress, ingress_class, load_scenarios, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.testing.scenario import Scenario
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import get, reply

pytestmark = pytest.mark.anyio

SCENARIOS = [scenario for scenario in load_scenarios() if str(scenario).startswith("cors")]
FIELDS = (
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-credentials",
    "access-control-expose-headers",
)
PREFLIGHT = ["Origin: https://a.example", "Access-Control-Request-Method: PUT"]


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param != HAPROXY.name:
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario_is_answered_as_it_says(plane: Plane, scenario: Scenario) -> None:
    assert plane.missing(scenario) == ()
    async with open_loopback(scenario.translate().graph) as world:
        await plane.serve(world.graph)
        assert await world.run(scenario, http=plane.http, https=plane.https) == ()


async def test_fields_of_the_endpoint_make_room_for_those_that_the_policy_states(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        reply(
            fields=[
                "Access-Control-Allow-Origin: *",
                "Access-Control-Allow-Methods: BREW",
                "Access-Control-Expose-Headers: X-Own",
                "Vary: Accept",
            ]
        )
    )
    await stage.serve(endpoint, annotations={"cors-origins": "https://a.example"})
    client = await stage.connect()

    allowed = await client.ask(get(fields=["Origin: https://a.example"]))
    other = await client.ask(get(fields=["Origin: https://b.example"]))

    assert allowed.values("access-control-allow-origin") == ["https://a.example"]
    assert "BREW" not in ",".join(allowed.values("access-control-allow-methods"))
    assert allowed.values("access-control-expose-headers") == ["X-Own"]
    assert other.values("access-control-allow-origin") == ["*"]
    for answer in (allowed, other):
        assert ", ".join(answer.values("vary")) == "Accept, Origin"


async def test_a_connection_goes_on_after_a_preflight(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"cors-origins": "*"})
    client = await stage.connect()

    statuses = [(await client.ask(get(method="OPTIONS", fields=PREFLIGHT))).status for _ in range(2)]
    statuses.append((await client.ask(get())).status)

    assert statuses == [204, 204, 200]
    assert [seen.line.split(b" ")[0] for seen in endpoint.seen] == [b"GET"]


async def test_as_in_ingress_nginx_every_options_request_is_a_preflight(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    prefix = "nginx.ingress.kubernetes.io"
    snapshot = Snapshot.of(
        [
            ingress_class(),
            ingress(
                "web",
                {HOST: {"/": "web"}},
                annotations={
                    f"{prefix}/enable-cors": "true",
                    f"{prefix}/allowlist-source-range": "192.0.2.0/24",
                },
            ),
            service("web"),
            *slices("web", [endpoint.port]),
        ]
    )
    options = TranslateOptions(
        destinations=OPTIONS.destinations, policies=PolicyRegistry([IngressNginxDialect()])
    )
    await stage.plane.serve(translate(snapshot, options).graph)
    client = await stage.connect()

    preflight = await client.ask(get(method="OPTIONS"))
    refused = await client.ask(get())

    assert (preflight.status, preflight.value("access-control-allow-origin")) == (204, "*")
    assert preflight.value("access-control-allow-credentials") == "true"
    assert preflight.value("access-control-max-age") == "1728000"
    assert refused.status == 403
    assert endpoint.seen == []


async def test_origins_are_compared_whole(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    origins = "https://a.example, https://*.b.example:8443, null"
    await stage.serve(endpoint, annotations={"cors-origins": origins})
    client = await stage.connect()
    allowed = [
        "https://a.example",
        "HTTPS://A.Example",
        "https://x.b.example:8443",
        "https://X-1.b.example:8443",
        "null",
    ]
    others = [
        "https://*.b.example:8443",
        "https://.b.example:8443",
        "https://b.example:8443",
        "https://x.y.b.example:8443",
        "https://x_y.b.example:8443",
        "https://x.b.example",
        "https://x.a.example",
        "https://a.example.evil.example",
        "https://a.example/",
        "http://a.example",
        "https://axexample",
        "all",
        "1",
    ]

    found = {
        origin: (await client.ask(get(fields=[f"Origin: {origin}"]))).value("access-control-allow-origin")
        for origin in (*allowed, *others)
    }
    twice = await client.ask(get(fields=["Origin: https://a.example", "Origin: null"]))

    assert found == {**{origin: origin for origin in allowed}, **dict.fromkeys(others)}
    assert twice.value("access-control-allow-origin") is None


async def test_preflight_has_no_body_and_every_field_once(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {
        "cors-origins": "https://a.example",
        "cors-methods": "GET, PUT",
        "cors-headers": "X-One",
        "cors-expose-headers": "X-Two",
        "cors-credentials": "true",
        "cors-max-age": "60",
    }
    await stage.serve(endpoint, annotations=annotations)
    client = await stage.connect()

    answer = await client.ask(get(method="OPTIONS", fields=PREFLIGHT))

    assert answer.status == 204
    assert answer.value("content-length") is None
    assert {name: answer.values(name) for name in (*FIELDS, "vary")} == {
        "access-control-allow-origin": ["https://a.example"],
        "access-control-allow-methods": ["GET, PUT"],
        "access-control-allow-headers": ["X-One"],
        "access-control-max-age": ["60"],
        "access-control-allow-credentials": ["true"],
        "access-control-expose-headers": ["X-Two"],
        "vary": ["Origin"],
    }
