"""Header fields that the operator of ingress-nginx sets for every route."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, ObjectMeta
from ingresskit.policies import ForwardedPrefix, RequestHeaders, ResponseHeaders
from tests.unit.policies.test_ingress_nginx import only, read

SETTINGS = {
    "proxy-set-headers": "ops/requests",
    "add-headers": "ops/responses",
    "hide-headers": "X-Powered-By, Via-X",
}


def fields(name: str, namespace: str = "ops", **data: str) -> ConfigMap:
    named = {key.replace("_", "-"): value for key, value in data.items()}
    return ConfigMap(metadata=ObjectMeta(namespace=namespace, name=name), data=named)


def test_every_route_gets_the_fields_of_the_operator() -> None:
    reading = read({}, SETTINGS, fields("requests", X_Cluster="blue"), fields("responses", X_Served_By="us"))

    assert reading.policies.get(RequestHeaders) == RequestHeaders(set=(("X-Cluster", "blue"),))
    assert reading.policies.get(ResponseHeaders) == ResponseHeaders(
        set=(("X-Served-By", "us"),), remove=("X-Powered-By", "Via-X")
    )
    assert reading.diagnostics == ()


def test_those_of_an_annotation_stand_beside_them_and_win() -> None:
    settings = {**SETTINGS, "global-allowed-response-headers": "X-Served-By"}
    own = fields("own", "shop", X_Served_By="them")
    maps = (fields("requests", X_Cluster="blue"), fields("responses", X_Served_By="us", X_More="1"))

    named = read(
        {"custom-headers": "shop/own", "rewrite-target": "/a", "x-forwarded-prefix": "/p"}, settings, own, *maps
    )

    found = named.policies.get(ResponseHeaders)
    assert found is not None
    assert found.set == (("X-More", "1"), ("X-Served-By", "them"))
    assert named.policies.get(RequestHeaders) == RequestHeaders(set=(("X-Cluster", "blue"),))
    assert named.policies.get(ForwardedPrefix) == ForwardedPrefix(prefix="/p")
    assert set(named.policies.origins(ResponseHeaders)) == {"set"}


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("Host", "a", "belongs to the proxy"),
        ("X-Forwarded-Proto", "https", "belongs to the proxy"),
        ("X Y", "a", "must hold header names"),
        ("X-Request", "$request_id", "without variables"),
        ("X-Two", "a\nb", "of one line"),
    ],
)
def test_a_field_that_cannot_be_set_costs_itself_only(name: str, value: str, clause: str) -> None:
    found = ConfigMap(
        metadata=ObjectMeta(namespace="ops", name="requests"), data={name: value, "X-Cluster": "blue"}
    )

    reading = read({}, {"proxy-set-headers": "ops/requests"}, found)

    assert reading.policies.get(RequestHeaders) == RequestHeaders(set=(("X-Cluster", "blue"),))
    assert clause in only(reading).message
    assert (only(reading).field, only(reading).reason) == (
        "data[proxy-set-headers]",
        Reason.ANNOTATION_UNSUPPORTED,
    )
    assert reading.protection_fault is None


def test_a_config_map_that_is_not_there_is_reported() -> None:
    assert "there is no ConfigMap ops/responses" in only(read({}, {"add-headers": "ops/responses"})).message


def test_an_annotation_may_not_name_what_the_operator_named_in_another_namespace() -> None:
    settings = {**SETTINGS, "global-allowed-response-headers": "X-Key"}
    secret = fields("requests", X_Key="secret")

    reading = read({"custom-headers": "ops/requests"}, settings, secret, fields("responses"))

    assert reading.protection_fault is not None
    assert "in another namespace" in reading.protection_fault.message
    assert "secret" not in repr(reading.policies.get(ResponseHeaders))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server-tokens", "true"),
        ("generate-request-id", "false"),
        ("allow-backend-server-header", "false"),
        ("use-forwarded-headers", "true"),
        ("compute-full-forwarded-for", "true"),
        ("proxy-add-original-uri-header", "true"),
        ("proxy-set-headers", "headers"),
    ],
)
def test_what_the_config_map_asks_for_in_vain_is_reported_with_a_reason(key: str, value: str) -> None:
    assert only(read({}, {key: value})).field == f"data[{key}]"


@pytest.mark.parametrize(
    ("key", "value"),
    [("server-tokens", "false"), ("generate-request-id", "true"), ("allow-backend-server-header", "true")],
)
def test_what_holds_anyway_is_not(key: str, value: str) -> None:
    assert read({}, {key: value}).diagnostics == ()


def test_settings_are_those_of_the_operator() -> None:
    reading = read({}, {"proxy-set-headers": "shop/requests"}, fields("requests", "shop", X_A="1"))

    assert reading.policies.get(RequestHeaders) == RequestHeaders(set=(("X-A", "1"),))
