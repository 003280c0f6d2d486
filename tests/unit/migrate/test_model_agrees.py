"""The model agrees with the dialect's own scenarios; where it does not, a Diagnostic says why."""

from __future__ import annotations

import pytest

from ingresskit.graph import Request
from ingresskit.migrate import IngressNginxModel, Prediction
from ingresskit.models import ConfigMap, Ingress, Secret, Snapshot
from ingresskit.translate import translate
from tests.features.test_ingress_nginx import CASES, OPTIONS, PREFIX, Case, world_of

# What ingress-nginx does and is not done here on purpose: a protection that is not built, or that cannot be
# read, closes the routes.
ON_PURPOSE = {
    "a protection that is not built": "web",
    "a snippet": "web",
    "a global protection that is not built": "web",
    # A folder of manifests seldom holds its Secrets: the model takes them to be there.
    "users that are not there": 401,
    "a proof of a password": 401,
    "header fields that are not allowed": "web",
    "a list of programs that cannot be matched": "web",
    # A capture of dots that climbs out of the path: nginx sends it as it is.
    "a capture that leads away": "web",
}


def predicted(case: Case) -> Prediction:
    objects = world_of(case)
    model = IngressNginxModel(
        [item for item in objects if isinstance(item, Ingress)],
        case.settings,
        configs={item.key: item for item in objects if isinstance(item, ConfigMap)},
        secrets={item.key: item for item in objects if isinstance(item, Secret)},
    )
    ask = case.ask
    headers = {name.lower(): value for name, value in ask.headers.items()}
    path, mark, query = ask.path.partition("?")
    return model.predict(
        Request(
            scheme="http",
            host=ask.host,
            path=path,
            query=mark + query,
            method=ask.method,
            headers=headers,
            client="127.0.0.1",
        )
    )


@pytest.mark.parametrize("name", [name for name in CASES if name not in ON_PURPOSE])
def test_model_says_what_the_scenario_of_the_dialect_says(name: str) -> None:
    case = CASES[name]

    found = predicted(case)

    assert (found.status or 200) == case.status
    if case.location is not None:
        assert found.location.removeprefix("http://a.test") == case.location.removeprefix("http://a.test")
    if case.forwarded is not None:
        # nginx sends two slashes of a rewrite as they are, which every server but a few takes for one.
        assert found.path.replace("//", "/") == case.forwarded.partition("?")[0]
    host = {"Host": found.host} if found.host else {}
    for name_of_field, value in {**dict(found.request_fields), **host}.items():
        assert case.request.get(name_of_field, value) == value
    for name_of_field, value in found.response_fields:
        assert case.response.get(name_of_field, value) == value
    assert found.open == ""


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_where_the_model_differs_a_diagnostic_says_why(name: str) -> None:
    case = CASES[name]

    found = predicted(case)
    translation = translate(Snapshot.of(world_of(case)), OPTIONS)

    assert (found.status or 200) != case.status
    assert ON_PURPOSE[name] in (found.status, found.service.partition("/")[2])
    if name != "a capture that leads away":
        assert any(PREFIX in item.field or item.field.startswith("data[") for item in translation.diagnostics)


def test_every_exception_is_a_scenario() -> None:
    assert set(ON_PURPOSE) <= set(CASES)
