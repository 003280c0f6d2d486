"""The shipped scenarios show of each honoured annotation what it does, what it does not, and with others."""

from __future__ import annotations

from collections import defaultdict

import pytest

from ingresskit.models import Ingress
from ingresskit.policies import INGRESS_NGINX_PREFIX, IngressNginxDialect, Status
from ingresskit.testing import Scenario, load_annotation_scenarios

KINDS = frozenset({"positive", "negative", "interaction"})
ELSEWHERE = {
    # Connections are passed on there, and no requests.
    "ssl-passthrough": frozenset({"positive", "interaction"}),
}
"""What other tests show: `tests/dataplane/test_passthrough.py`."""
HONOURED = [doc.name for doc in IngressNginxDialect().table() if doc.status in (Status.HONOURED, Status.PARTLY)]
every_scenario = pytest.mark.parametrize("scenario", load_annotation_scenarios(), ids=str)


def shown() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for scenario in load_annotation_scenarios():
        for name, kinds in scenario.shows.items():
            found[name] |= kinds
    return found


@pytest.mark.parametrize("name", HONOURED)
def test_an_annotation_that_is_honoured_is_shown_in_each_way(name: str) -> None:
    assert shown()[name] | ELSEWHERE.get(name, frozenset()) == KINDS


def test_a_scenario_names_annotations_that_there_are() -> None:
    assert set(shown()) <= set(HONOURED)


@every_scenario
def test_a_scenario_has_the_annotations_that_it_shows(scenario: Scenario) -> None:
    written = {
        key.removeprefix(f"{INGRESS_NGINX_PREFIX}/")
        for item in scenario.objects
        if isinstance(item, Ingress)
        for key in item.metadata.annotations
    }

    assert set(scenario.shows) <= written
    assert all(kinds <= KINDS for kinds in scenario.shows.values())


@every_scenario
def test_what_is_reported_is_what_the_scenario_says(scenario: Scenario) -> None:
    assert scenario.translation_faults(scenario.translate()) == ()
    assert scenario.wants
    assert scenario.source
