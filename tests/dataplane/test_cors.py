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
