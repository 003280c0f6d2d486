"""The shipped scenarios, served by a real nginx from the files of the static mode."""

from __future__ import annotations

import anyio
import pytest

from ingresskit.testing import Scenario, load_scenarios
from ingresskit.testing.loopback import open_loopback
from tests.nginx_program import nginx_folder


@pytest.mark.parametrize("scenario", load_scenarios(), ids=str)
def test_nginx_answers_as_the_scenario_says(scenario: Scenario) -> None:
    assert not anyio.run(_faults, scenario)


def test_the_renderer_can_do_what_every_scenario_needs() -> None:
    """So that the test above is about all of them."""
    with nginx_folder() as nginx:
        lacking = {str(scenario): scenario.missing(nginx.renderer) for scenario in load_scenarios()}

    assert not {name: what for name, what in lacking.items() if what}


async def _faults(scenario: Scenario) -> tuple[str, ...]:
    with nginx_folder() as nginx:
        async with open_loopback(scenario.translate().graph) as world:
            nginx.write(nginx.renderer.render(nginx.renderer.restrict(world.graph).graph))
            with nginx.running():
                return await world.run(scenario, http=nginx.http, https=nginx.https)
