"""Backends whose requests go to the address of their Service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Backend, Forward
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, Translator, translate

SETTINGS = ObjectKey("ops", "settings")
OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(settings=SETTINGS), NativeDialect()]))
NGINX = "nginx.ingress.kubernetes.io"
NATIVE = {"ingresskit.dev/service-upstream": "true"}


def translated(
    address: str | None, annotations: dict[str, str], settings: dict[str, str] | None = None
) -> Translation:
    made = service("web", 8080)
    objects: list[KubeObject] = [
        ingress_class(),
        replace(made, spec=replace(made.spec, cluster_ip=address)),
        endpoint_slice("web", "10.0.0.1", "10.0.0.2"),
        ingress("web", {"a.test": {"/": "web:8080"}}, annotations=annotations),
        ingress(
            "other",
            {"b.test": {"/": "web:8080"}},
            annotations={"nginx.ingress.kubernetes.io/service-upstream": "false"},
        ),
        ConfigMap(metadata=ObjectMeta(namespace="ops", name="settings"), data=settings or {}),
    ]
    return translate(Snapshot.of(objects), OPTIONS)


def backend(translation: Translation, host: str) -> Backend:
    route = translation.graph.resolve(host, "/")
    assert route is not None
    assert isinstance(route.action, Forward)
    return translation.graph.backends[route.action.backends[0].key]


def addresses(translation: Translation, host: str) -> list[str]:
    return [f"{item.address}:{item.port}" for item in backend(translation, host).endpoints]


@pytest.mark.parametrize(
    ("annotations", "settings"),
    [
        pytest.param(NATIVE, {}, id="a native annotation"),
        pytest.param({f"{NGINX}/service-upstream": "true"}, {}, id="one of ingress-nginx"),
        pytest.param({}, {"service-upstream": "true"}, id="the ConfigMap"),
    ],
)
def test_requests_of_the_routes_that_ask_for_it_go_to_the_service(
    annotations: dict[str, str], settings: dict[str, str]
) -> None:
    translation = translated("10.96.0.7", annotations, settings)

    assert addresses(translation, "a.test") == ["10.96.0.7:8080"]
    assert len(addresses(translation, "b.test")) == 2
    assert not any("ServiceUpstream" in repr(item) for item in backend(translation, "a.test").policies)


@pytest.mark.parametrize("address", [None, "", "None"])
def test_a_service_without_an_address_has_its_endpoints_asked(address: str | None) -> None:
    assert len(addresses(translated(address, NATIVE), "a.test")) == 2


def test_an_address_that_no_endpoint_may_have_is_refused() -> None:
    translation = translated("169.254.169.254", NATIVE)

    assert addresses(translation, "a.test") == []
    assert len(addresses(translation, "b.test")) == 2
    assert [item.reason for item in translation.diagnostics if item.field == "spec.clusterIP"] == [
        Reason.ADDRESS_REFUSED
    ]


def test_a_backend_may_go_from_one_host_to_another_in_one_pass() -> None:
    translator = Translator(OPTIONS)
    made = [ingress_class(), service("web", 8080), endpoint_slice("web", "10.0.0.1")]
    for host in ("a.test", "b.test", "a.test"):
        item = ingress(
            "web", {host: {"/": "web:8080"}}, annotations={"ingresskit.dev/load-balancing": "random"}
        )
        translation = translator.translate(Snapshot.of([*made, item]))

        assert addresses(translation, host) == ["10.0.0.1:8080"]
