"""The model agrees with every scenario of the dialect that is shipped; where it does not, it is said why."""

from __future__ import annotations

import pytest

from ingresskit.graph import Request
from ingresskit.migrate import ControllerFlags, Expectations
from ingresskit.models import ConfigMap, Ingress, ObjectKey
from ingresskit.policies import IngressNginxDialect
from ingresskit.testing.scenario import Ask, Scenario
from ingresskit.testing.scenario_files import load_annotation_scenarios

SETTINGS = ObjectKey("ops", "settings")


def request_of(ask: Ask) -> Request:
    path, mark, query = ask.path.partition("?")
    headers = {name.lower(): value for name, value in ask.headers.items()}
    if ask.size and not ask.chunked:
        headers["content-length"] = str(ask.size)
    return Request(
        scheme="https" if ask.tls else "http",
        host=ask.host,
        path=path,
        query=mark + query,
        method=ask.method,
        headers=headers,
        client="127.0.0.1",
    )


def expectations_of(scenario: Scenario) -> Expectations:
    flags = {
        "configmap": str(SETTINGS),
        "ingress-class": scenario.options.ingress_class,
        "controller-class": scenario.options.controller_name,
        "enable-ssl-passthrough": "true",
    }
    return Expectations(scenario.objects, ControllerFlags(values=flags))


@pytest.mark.parametrize("scenario", load_annotation_scenarios(), ids=str)
def test_model_and_product_agree_or_a_reason_is_reported(scenario: Scenario) -> None:
    expectations = expectations_of(scenario)

    found = [expectations.of(request_of(want.ask)) for want in scenario.wants]

    unexplained = [
        (str(item.request), item.discrepancy.why) for item in found if item.discrepancy and not item.reason
    ]
    assert unexplained == []


def test_scenarios_have_what_the_model_reads() -> None:
    scenarios = load_annotation_scenarios()

    assert sum(len(item.wants) for item in scenarios) > 150
    assert any(SETTINGS in {it.key for it in item.objects if isinstance(it, ConfigMap)} for item in scenarios)
    assert all(any(isinstance(it, Ingress) for it in item.objects) for item in scenarios)
    assert IngressNginxDialect(settings=SETTINGS).table()
