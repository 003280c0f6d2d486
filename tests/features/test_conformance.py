"""The shipped scenarios, asked of the graph, of the routing table and of the real proxy over real sockets."""

from __future__ import annotations

import anyio
import pytest

from ingresskit.graph import HostRefused, PathRefused, normalise_host, normalise_path
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import Answer, Scenario, answer_faults, ask_graph, load_scenarios
from ingresskit.testing.loopback import open_loopback

every_scenario = pytest.mark.parametrize("scenario", load_scenarios(), ids=str)


@every_scenario
def test_the_graph_answers_as_the_scenario_says(scenario: Scenario) -> None:
    translation = scenario.translate()
    faults = list(scenario.translation_faults(translation))
    for want in scenario.wants:
        right = ask_graph(translation.graph, want.ask)
        no = Answer(status=want.status)
        # A service that is asked may say no, which a graph cannot know.
        if right.status != 200 or want.status == 200 or answer_faults(translation.graph, want.ask, no):
            faults += want.faults([right])

    assert not faults


@every_scenario
def test_the_routing_table_finds_what_the_graph_resolves(scenario: Scenario) -> None:
    graph = scenario.translate().graph
    table = InProcessRenderer().render(graph)
    for want in scenario.wants:
        try:
            host, path = normalise_host(want.ask.host), normalise_path(want.ask.path.partition("?")[0])
        except (HostRefused, PathRefused):
            continue
        found = table.find(host, path)

        assert (found.route if found else None) is graph.resolve(want.ask.host, path)
        assert table.certificate_for(want.ask.server_name) is graph.certificate_for(want.ask.server_name)


@every_scenario
def test_the_proxy_answers_as_the_scenario_says(scenario: Scenario) -> None:
    faults = anyio.run(_faults_of_the_proxy, scenario)

    assert not faults


def test_the_in_process_renderer_can_do_what_every_scenario_needs() -> None:
    """So that the test above is about all of them."""
    renderer = InProcessRenderer()
    lacking = {str(scenario): scenario.missing(renderer) for scenario in load_scenarios()}

    assert not {name: what for name, what in lacking.items() if what}


async def _faults_of_the_proxy(scenario: Scenario) -> tuple[str, ...]:
    renderer = InProcessRenderer()
    settings = ProxySettings(public_https_port=443)
    async with open_loopback(scenario.translate().graph) as world, Proxy(settings) as proxy:
        proxy.swap(renderer.render(renderer.restrict(world.graph).graph))
        http = await proxy.listen("127.0.0.1", 0)
        https = await proxy.listen("127.0.0.1", 0, tls=True)
        return await world.run(scenario, http=http.address, https=https.address)
