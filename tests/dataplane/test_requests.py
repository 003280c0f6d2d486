"""Which requests are served at all, and which are sent elsewhere; HAProxy has its delegate."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing import load_scenarios
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.testing.scenario import Scenario
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM

pytestmark = pytest.mark.anyio

SCENARIOS = [scenario for scenario in load_scenarios() if str(scenario).startswith(("requests", "redirects"))]


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
