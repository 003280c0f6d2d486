"""Limits of requests: what their annotations come to in both dialects, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason, Severity
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import (
    BandwidthLimit,
    ClientKey,
    ConnectionLimit,
    IngressNginxDialect,
    KeySource,
    PolicyRegistry,
    Rate,
    RateLimit,
    Reading,
    RequestBuffering,
    Shadow,
    Shadowed,
    Stage,
    default_policies,
)
from ingresskit.policies.values import parse_networks

SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))
SETTINGS = ObjectKey("ops", "settings")
K = TypeVar("K", bound=KubeObject)


def native(**annotations: str) -> Reading:
    named = {f"ingresskit.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return default_policies().read(named, SUBJECT)


def nginx(annotations: Mapping[str, str], settings: Mapping[str, str] | None = None) -> Reading:
    known = ConfigMap(metadata=ObjectMeta(namespace="ops", name="settings"), data=settings or {})

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        return known if isinstance(known, kind) and key == SETTINGS else None

    registry = PolicyRegistry([IngressNginxDialect(settings=SETTINGS)])
    named = {f"nginx.ingress.kubernetes.io/{name}": text for name, text in annotations.items()}
    return registry.read(named, SUBJECT, objects)


def test_a_rate_limit_belongs_to_the_object_that_asks() -> None:
    reading = native(
        rate_limit="300/m, 10/s",
        rate_limit_burst="2",
        rate_limit_key="header:X-Api-Key",
        rate_limit_exempt="10.0.0.0/8",
        rate_limit_status="503",
    )

    assert reading.diagnostics == ()
    assert reading.policies.get(RateLimit) == RateLimit(
        rates=(Rate(10, 1), Rate(300, 60)),
        burst=2,
        key=ClientKey(KeySource.HEADER, "x-api-key"),
        exempt=parse_networks("10.0.0.0/8"),
        status=503,
        owner="shop/web",
    )


def test_a_connection_limit_belongs_to_the_object_that_asks() -> None:
    reading = native(connection_limit="3", connection_limit_key="cookie:SID")

    key = ClientKey(KeySource.COOKIE, "SID")
    assert reading.policies.get(ConnectionLimit) == ConnectionLimit(most=3, key=key, owner="shop/web")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rate_limit", "10"),
        ("rate_limit", "0/s"),
        ("rate_limit", "10/h"),
        ("rate_limit", "10/s, 20/s"),
        ("rate_limit", "10/s,"),
        ("rate_limit", "1/s\n,2/m;"),
        ("rate_limit_burst", "5"),
        ("connection_limit", "0"),
        ("connection_limit", "-1"),
        ("connection_limit_status", "429"),
    ],
)
def test_a_limit_that_cannot_be_read_closes_the_routes(name: str, text: str) -> None:
    reading = native(**{name: text})

    assert reading.protection_fault is not None
    assert reading.protection_fault.reason is Reason.ANNOTATION_INVALID


@pytest.mark.parametrize("text", ["address", "header:", "header:a b", "cookie:a;b", "client:x", "header:a_b"])
def test_a_key_that_cannot_be_read_closes_the_routes(text: str) -> None:
    assert native(rate_limit="1/s", rate_limit_key=text).protection_fault is not None


def test_limits_of_ingress_nginx_have_its_defaults() -> None:
    reading = nginx({"limit-rps": "5", "limit-rpm": "100", "limit-connections": "2"})

    assert reading.diagnostics == ()
    assert reading.policies.get(RateLimit) == RateLimit(
        rates=(Rate(5, 1), Rate(100, 60)), burst=5, status=503, owner="shop/web"
    )
    assert reading.policies.get(ConnectionLimit) == ConnectionLimit(most=2, status=503, owner="shop/web")


def test_settings_of_ingress_nginx_hold_for_limits() -> None:
    reading = nginx(
        {
            "limit-rps": "5",
            "limit-connections": "2",
            "limit-burst-multiplier": "0",
            "limit-whitelist": "10.0.0.1/8",
        },
        {
            "limit-req-status-code": "429",
            "limit-conn-status-code": "431",
            "limit-conn-zone-variable": "$http_x_api_key",
        },
    )
    rates, connections = reading.policies.get(RateLimit), reading.policies.get(ConnectionLimit)

    assert reading.diagnostics == ()
    assert rates is not None
    assert connections is not None
    assert (rates.burst, rates.status, connections.status) == (0, 429, 431)
    assert rates.key == connections.key == ClientKey(KeySource.HEADER, "x-api-key")
    assert rates.exempt == connections.exempt == parse_networks("10.0.0.0/8")


@pytest.mark.parametrize("name", ["limit-rps", "limit-rpm", "limit-connections"])
@pytest.mark.parametrize("text", ["ten", "5r", "-1", "1.5"])
def test_a_limit_of_ingress_nginx_that_cannot_be_read_closes_the_routes(name: str, text: str) -> None:
    assert nginx({name: text}).protection_fault is not None


def test_an_allowlist_that_cannot_be_read_exempts_no_client() -> None:
    reading = nginx({"limit-rps": "5", "limit-allowlist": "home"})
    limit = reading.policies.get(RateLimit)

    assert limit is not None
    assert limit.exempt == ()
    assert [item.severity for item in reading.diagnostics] == [Severity.WARNING]


def test_a_variable_that_is_no_client_is_a_fault_of_the_configmap() -> None:
    (fault,) = nginx({}, {"limit-conn-zone-variable": "$request_uri"}).diagnostics

    assert fault.field == "data[limit-conn-zone-variable]"
    assert "the default holds" in fault.message


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("limits", {Stage.RATE, Stage.BODY}),
        ("access", {Stage.ADDRESS}),
        ("access, authentication", {Stage.ADDRESS, Stage.AUTHENTICATION}),
        ("all", {Stage.RATE, Stage.BODY, Stage.ADDRESS, Stage.AUTHENTICATION}),
    ],
)
def test_policies_are_put_on_trial(text: str, stages: set[Stage]) -> None:
    found = native(shadow=text).policies.get(Shadow)

    assert found is not None
    assert found.stages == stages


def test_a_trial_that_cannot_be_read_leaves_policies_in_force() -> None:
    reading = native(shadow="limits, everything")

    assert reading.policies.get(Shadow) is None
    assert reading.protection_fault is None
    assert [item.severity for item in reading.diagnostics] == [Severity.WARNING]


def test_words_for_trials_are_stable() -> None:
    assert [str(item) for item in Shadowed] == ["limits", "access", "authentication", "all"]


def test_bandwidth_is_read_in_both_dialects() -> None:
    asked = native(response_rate="64k", response_rate_after="1m").policies.get(BandwidthLimit)
    read = nginx({"limit-rate": "64", "limit-rate-after": "1024"}).policies.get(BandwidthLimit)

    assert asked == read == BandwidthLimit(rate=65_536, after=1 << 20)


def test_bandwidth_of_the_configmap_holds_where_the_ingress_says_nothing() -> None:
    settings = {"limit-rate": "10", "limit-rate-after": "20"}

    assert nginx({}, settings).policies.get(BandwidthLimit) == BandwidthLimit(rate=10_240, after=20_480)
    assert nginx({"limit-rate": "0"}, settings).policies.get(BandwidthLimit) is None


def test_a_rate_that_cannot_be_read_is_reported_and_serves() -> None:
    for reading in (
        native(response_rate="fast"),
        native(response_rate_after="1m"),
        nginx({"limit-rate": "64k"}),
    ):
        assert reading.policies.get(BandwidthLimit) is None
        assert [item.severity for item in reading.diagnostics] == [Severity.WARNING]
        assert reading.protection_fault is None


def test_bodies_are_gathered_where_somebody_asks_for_it() -> None:
    asked = nginx({"proxy-request-buffering": "on"}).policies.get(RequestBuffering)

    assert asked == RequestBuffering(max_bytes=1 << 20)
    assert nginx({"proxy-request-buffering": "off"}).policies.get(RequestBuffering) is None
    assert nginx({}).policies.get(RequestBuffering) is None
    assert native(request_buffering="64k").policies.get(RequestBuffering) == RequestBuffering(max_bytes=65_536)
    assert native(request_buffering="2m").diagnostics[0].reason is Reason.ANNOTATION_INVALID


@pytest.mark.parametrize(
    ("annotations", "settings"),
    [
        ({"proxy-buffer-size": "128k"}, {}),
        ({}, {"proxy-buffer-size": "128k"}),
        ({}, {"large-client-header-buffers": "4 16k"}),
        ({}, {"large-client-header-buffers": "8 8k"}),
        ({}, {"client-header-buffer-size": "16k"}),
        ({"proxy-request-buffering": "true"}, {}),
    ],
)
def test_buffers_that_would_let_more_through_are_reported(
    annotations: Mapping[str, str], settings: Mapping[str, str]
) -> None:
    assert [item.severity for item in nginx(annotations, settings).diagnostics] == [Severity.WARNING]


def test_buffers_that_lose_nothing_are_not_reported() -> None:
    annotations = {
        "client-body-buffer-size": "1m",
        "proxy-buffer-size": "16k",
        "proxy-buffering": "on",
        "proxy-buffers-number": "8",
        "proxy-busy-buffers-size": "32k",
        "proxy-max-temp-file-size": "0",
    }
    settings = {
        "large-client-header-buffers": "4 8k",
        "client-header-buffer-size": "1k",
        "proxy-buffer-size": "8k",
    }

    assert nginx(annotations, settings).diagnostics == ()


def test_the_operator_puts_policies_of_ingress_nginx_on_trial() -> None:
    registry = PolicyRegistry([IngressNginxDialect(shadow=(Shadowed.LIMITS,))])

    assert registry.read({}, SUBJECT).policies.get(Shadow) == Shadow(on_trial=(Shadowed.LIMITS,))
