"""HTTP/2 to clients: the same answers as over HTTP/1.1, through every proxy that speaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane
from ingresskit.testing.scenario_files import load_scenarios

pytestmark = pytest.mark.anyio


async def test_scenarios_are_answered_as_they_say_over_http_2(plane: Plane, whole_wanted: bool) -> None:
    if plane.name.startswith("nginx"):
        pytest.skip("nginx is not told to speak HTTP/2")
    faults: list[str] = []
    unspoken: list[str] = []
    asked = 0
    # All of them in this process; of a program every fifth one, unless much is wanted.
    step = 1 if plane.name == "inprocess" or whole_wanted else 5
    for scenario in load_scenarios()[::step]:
        if plane.missing(scenario):
            continue
        async with open_loopback(scenario.translate().graph) as world:
            await plane.serve(world.graph)
            for want in scenario.wants:
                asked += 1
                single = replace(scenario, wants=(want,))
                try:
                    found = await world.run(single, http=plane.http, https=plane.https, http2=True)
                except ConfigurationError:
                    unspoken.append(str(scenario))
                    continue
                # What is no request at all, such as one for a host that is none, is an error of the stream.
                faults += [
                    f"{scenario}: {fault}" for fault in found if not fault.endswith("the status is 0, not 400")
                ]

    assert not faults, "\n".join(faults[:20])
    assert asked > 300 // step
    # HAProxy 2.6 settles on no protocol where it shows the default certificate to a name that has none.
    assert len(unspoken) <= (0 if plane.name == "inprocess" else 3), unspoken
