"""A kit that cannot find a fault is worth nothing: each kind of wrong answer is found here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial

import anyio
import pytest

from ingresskit.errors import ConfigurationError, DecodeError
from ingresskit.proxy import Proxy
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import Answer, Ask, Scenario, Want, ask_graph, load_scenarios, read_scenarios
from ingresskit.testing.loopback import open_loopback

_ASK = Ask(host="a.test", path="/x")
_RIGHT = Answer(
    status=200,
    services=frozenset({"default/one"}),
    endpoints=frozenset({"10.0.0.1:8080"}),
    certificate="default/tls",
    forwarded="/x",
    request_headers={"x-a": "1"},
    response_headers={"x-b": "2"},
)
_WANT = Want(
    ask=_ASK,
    services=_RIGHT.services,
    endpoints=_RIGHT.endpoints,
    certificate="default/tls",
    forwarded="/x",
    request_headers={"x-a": "1", "x-gone": None},
    response_headers={"x-b": "2"},
)


def test_the_right_answer_has_no_fault() -> None:
    assert not _WANT.faults([_RIGHT])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        pytest.param(replace(_RIGHT, status=404), "the status is 404 (by default/one), not 200", id="status"),
        pytest.param(
            replace(_RIGHT, services=frozenset({"default/two"})),
            "the Services default/two answered, not default/one",
            id="Service",
        ),
        pytest.param(
            replace(_RIGHT, endpoints=frozenset({"10.0.0.1:8080", "10.0.0.2:8080"})),
            "the endpoints 10.0.0.1:8080, 10.0.0.2:8080 answered, not 10.0.0.1:8080",
            id="one endpoint too many",
        ),
        pytest.param(
            replace(_RIGHT, services=frozenset[str]()),
            "the Services none answered, not default/one",
            id="nobody",
        ),
        pytest.param(
            replace(_RIGHT, certificate=""), "the certificate is '', not 'default/tls'", id="certificate"
        ),
        pytest.param(replace(_RIGHT, forwarded="/y"), "the forwarded target is '/y', not '/x'", id="target"),
        pytest.param(
            replace(_RIGHT, request_headers={}),
            "the endpoint sees x-a: None, not '1'",
            id="a header is missing",
        ),
        pytest.param(
            replace(_RIGHT, request_headers={"x-a": "1", "x-gone": "0"}),
            "the endpoint sees x-gone: '0', not None",
            id="a header is too many",
        ),
        pytest.param(
            replace(_RIGHT, response_headers={"x-b": "3"}),
            "the client sees x-b: '3', not '2'",
            id="an answer's",
        ),
    ],
)
def test_a_wrong_answer_is_told(answer: Answer, fault: str) -> None:
    assert _WANT.faults([answer]) == (f"GET http://a.test/x: {fault}",)


def test_what_cannot_be_known_is_not_judged() -> None:
    unknowing = Answer(status=200, services=_RIGHT.services, endpoints=_RIGHT.endpoints)

    assert not _WANT.faults([unknowing])


def test_of_several_answers_all_endpoints_are_wanted_together() -> None:
    want = Want(ask=_ASK, times=2, endpoints=frozenset({"a:1", "b:1"}))
    one, other = (Answer(status=200, endpoints=frozenset({text})) for text in ("a:1", "b:1"))

    assert not want.faults([one, other])
    assert want.faults([one, one])


_TEXT = """
services: [foo, bar]
cases:
- name: two paths
  ingresses: [{rules: {a.test: {/: foo, /bar: bar, /gone: gone}}}]
  requests:
  - {path: /, to: foo}
  - {path: /bar, to: bar, forwarded: /bar}
  diagnostics: ["ServiceNotFound Ingress default/web spec.rules[0].http.paths[2].backend"]
  endpoints: {foo: ["10.0.0.1:8080"]}
"""


def test_a_scenario_that_is_right_has_no_fault() -> None:
    (scenario,) = read_scenarios(_TEXT, "example")
    translation = scenario.translate()

    assert not scenario.translation_faults(translation)
    assert not [
        fault for want in scenario.wants for fault in want.faults([ask_graph(translation.graph, want.ask)])
    ]
    assert not _faults_of_the_proxy(scenario)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{path: /, to: foo}", "{path: /, to: bar}", "the Services default/foo answered, not default/bar"),
        ("{path: /, to: foo}", "{path: /, status: 404}", "the status is 200 (by default/foo), not 404"),
        ("/bar: bar, ", "", "the Services default/foo answered, not default/bar"),
        ("forwarded: /bar", "forwarded: /", "the forwarded target is '/bar', not '/'"),
    ],
)
def test_a_scenario_that_is_wrong_is_found_by_the_proxy(old: str, new: str, fault: str) -> None:
    assert old in _TEXT
    (scenario,) = read_scenarios(_TEXT.replace(old, new), "example")

    (found,) = _faults_of_the_proxy(scenario)
    assert found.endswith(fault)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("ServiceNotFound", "RouteConflict", "not reported: RouteConflict Ingress default/web"),
        ("/gone: gone", "/gone: foo", "not reported: ServiceNotFound"),
        ("/bar: bar", "/bar: none", "reported: ServiceNotFound"),
        (
            "10.0.0.1:8080",
            "10.0.0.9:8080",
            "the endpoints of default/foo:80 are 10.0.0.1:8080, not 10.0.0.9:8080",
        ),
    ],
)
def test_wrong_diagnostics_and_endpoints_are_found(old: str, new: str, fault: str) -> None:
    (scenario,) = read_scenarios(_TEXT.replace(old, new), "example")

    assert any(found.startswith(fault) for found in scenario.translation_faults(scenario.translate()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: [", "cannot be read"),
        ("cases: [{name: x, requests: [{pth: /}]}]", "pth"),
        ("cases: [{name: x, ingresses: [{rulez: {}}]}]", "rulez"),
        ("cases: [{name: x}, {name: x}]", "two scenarios of example are called 'x'"),
        ("cases: [{name: x, secrets: [{fault: odd}]}]", "cannot have the fault 'odd'"),
        ("cases: [{name: x, objects: [{apiVersion: v1, kind: Pod, metadata: {name: x}}]}]", "is not read"),
    ],
)
def test_a_slip_in_a_file_of_scenarios_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_scenarios(text, "example")


def test_an_object_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(DecodeError, match="x, object 1"):
        read_scenarios(
            "cases: [{name: x, objects: [{apiVersion: v1, kind: Service, metadata: {name: 1}}]}]", "example"
        )


def test_the_shipped_scenarios_are_many_and_told_apart() -> None:
    scenarios = load_scenarios()
    names = [str(scenario) for scenario in scenarios]

    assert len(names) == len(set(names))
    assert {scenario.feature for scenario in scenarios} >= {
        "conformance",
        "path-types",
        "hosts",
        "classes",
        "conflicts",
        "default-backends",
        "destinations",
        "endpoints",
        "normal-form",
        "policies",
        "tls",
        "validation",
    }
    assert all(scenario.source for scenario in scenarios)
    # What asks nothing shows nothing.
    assert all(scenario.wants or scenario.endpoints for scenario in scenarios)


def test_what_a_renderer_lacks_is_named() -> None:
    class Bare(InProcessRenderer):
        supports = frozenset()

    (scenario,) = read_scenarios(
        "cases: [{name: x, ingresses: [{rules: {a.test: {/: one}},"
        " annotations: {retries: '1', tls-redirect: 'true'}}]}]",
        "example",
    )

    assert scenario.missing(Bare()) == ("Retries", "TlsRedirect")
    assert scenario.missing(InProcessRenderer()) == ()


def test_importing_the_kit_loads_nothing_heavy() -> None:
    heavy = ("anyio", "cryptography", "httptools", "hypothesis", "kubernetes", "pydantic", "pytest", "yaml")
    program = f"import sys, ingresskit.testing; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def _faults_of_the_proxy(scenario: Scenario) -> tuple[str, ...]:
    return anyio.run(partial(_ask_the_proxy, scenario))


async def _ask_the_proxy(scenario: Scenario) -> tuple[str, ...]:
    async with open_loopback(scenario.translate().graph) as world, Proxy() as proxy:
        proxy.swap(InProcessRenderer().render(world.graph))
        listener = await proxy.listen("127.0.0.1", 0)
        return await world.run(scenario, http=listener.address)
