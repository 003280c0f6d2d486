"""Every annotation of ingress-nginx that is honoured, on every proxy with its delegate.

The whole suite is asked of each proxy with ``--changes 1000``, as ``scripts/test histories`` does; else a part,
another one of each program.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing import Scenario, load_annotation_scenarios
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.planes import KINDS

pytestmark = pytest.mark.anyio

_PART = 6
_WHOLE = 1000


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


async def test_every_annotation_does_what_its_scenarios_say(plane: Plane, changes_wanted: int) -> None:
    place = list(KINDS).index(plane.name)
    scenarios = load_annotation_scenarios()
    part = scenarios if changes_wanted >= _WHOLE else scenarios[place::_PART]
    faults = [fault for scenario in part for fault in await _faults(plane, scenario)]

    assert faults == []


async def _faults(plane: Plane, scenario: Scenario) -> tuple[str, ...]:
    async with open_loopback(scenario.translate().graph) as world:
        await plane.serve(world.graph)
        return tuple(
            f"{scenario}: {fault}" for fault in await world.run(scenario, http=plane.http, https=plane.https)
        )
