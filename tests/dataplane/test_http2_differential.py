"""The same request over HTTP/1.1 and over HTTP/2: two protocols, one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane
from ingresskit.testing.scenario import Answer, Ask, Scenario
from ingresskit.testing.scenario_files import load_scenarios
from tests.dataplane.conftest import opened

SCENARIOS = load_scenarios()
# Of the connection, of the moment, or made up for each request.
_NOT_COMPARED = frozenset(
    ("date", "connection", "keep-alive", "transfer-encoding", "content-length", "x-request-id", "host")
)


@pytest.fixture
def http2_examples(whole_wanted: bool, changes_wanted: int) -> int:
    """How many scenarios with bent requests are compared: a sample, or as many as changes are wanted."""
    return changes_wanted if whole_wanted else 25


def comparable(answer: Answer) -> tuple[object, ...]:
    """What of an answer does not depend on the protocol; what is refused unread has no status over HTTP/2."""
    if answer.status in (0, 400):
        return (400,)
    return (
        answer.status,
        answer.location,
        answer.services,
        answer.forwarded,
        {name: value for name, value in (answer.request_headers or {}).items() if name not in _NOT_COMPARED},
        {name: value for name, value in (answer.response_headers or {}).items() if name not in _NOT_COMPARED},
    )


PIECES = ("a", "b", "..", ".", "", "%2e", "%2F", "%41", "x;y", "%zz", "a%00", "\\", "a b", "~", "api")
PATHS = st.lists(st.sampled_from(PIECES), max_size=5).map(lambda parts: "/" + "/".join(parts))
FIELDS = st.dictionaries(
    st.sampled_from(["X-A", "x-forwarded-for", "X-Real-IP", "Cookie", "Accept", "Referer", "Authorization"]),
    st.sampled_from(["1", "a=b; c=d", "192.0.2.1", "https://a.test/", "Basic YTpi", "text/html, */*"]),
    max_size=3,
)
QUERIES = st.sampled_from(["", "?", "?a=b", "?a=%zz", "?a?b"])


@st.composite
def asks(draw: st.DrawFn, scenario: Scenario) -> Ask:
    """A request like one of the scenario's, bent."""
    ask = draw(st.sampled_from([want.ask for want in scenario.wants]))
    path = draw(st.one_of(st.just(ask.path), st.builds(str.__add__, PATHS, QUERIES)))
    method = draw(st.sampled_from([ask.method, "GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"]))
    return replace(ask, path=path, method=method, headers={**ask.headers, **draw(FIELDS)})


# Scenarios whose answers are the same for the same request, whoever asks and how often.
STEADY = tuple(
    scenario
    for scenario in SCENARIOS
    if scenario.wants and not any(want.times > 1 or want.ask.tls for want in scenario.wants)
)


def test_http_1_and_http_2_are_answered_alike(http2_examples: int) -> None:
    async def compare(plane: Plane, scenario: Scenario, bent: list[Ask]) -> None:
        async with open_loopback(scenario.translate().graph) as world:
            await plane.serve(world.graph)
            for ask in bent:
                old = await world.ask(ask, http=plane.http)
                new = await world.ask(ask, http=plane.http, http2=True)
                assert comparable(old) == comparable(new), ask

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened("inprocess")) as plane:

        @given(data=st.data())
        @settings(max_examples=http2_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        def check(data: st.DataObject) -> None:
            scenario = data.draw(st.sampled_from(STEADY))
            bent = data.draw(st.lists(asks(scenario), min_size=1, max_size=8))
            if not plane.missing(scenario):
                portal.call(compare, plane, scenario, bent)

        check()
