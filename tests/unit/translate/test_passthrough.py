"""Hosts whose TLS connections are passed on: who decides, where they go, and what closes them."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Close, Forward, Protocol, Respond, StreamRoute, VirtualHost
from ingresskit.models import Ingress, KubeObject, Snapshot
from ingresskit.policies import (
    AllowedSources,
    IngressNginxDialect,
    KubernetesDialect,
    LoadBalancing,
    PolicyRegistry,
    Timeouts,
)
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, Translator, translate

PASSED = {"tls-passthrough": "true"}


def _web(
    name: str, paths: dict[str, str], created: int = 1, *, host: str = "a.test", **annotations: str
) -> Ingress:
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    return ingress(name, {host: paths}, created=created, annotations=named)


def _passed(name: str, paths: dict[str, str], created: int = 1, **annotations: str) -> Ingress:
    return _web(name, paths, created, tls_passthrough="true", **annotations)


def _objects() -> list[KubeObject]:
    found: list[KubeObject] = [ingress_class()]
    for name, address in (("one", "10.0.0.1"), ("two", "10.0.0.2")):
        found += [service(name), endpoint_slice(name, address)]
    return found


def _translated(*items: KubeObject, options: TranslateOptions | None = None) -> Translation:
    return translate(Snapshot.of([*_objects(), *items]), options)


def _host(translation: Translation) -> VirtualHost:
    (host,) = translation.graph.virtual_hosts
    return host


def _stream(translation: Translation) -> StreamRoute:
    stream = _host(translation).stream
    assert stream is not None
    return stream


def _services(stream: StreamRoute) -> list[tuple[str, int]]:
    assert isinstance(stream.action, Forward)
    return [(share.key.service, share.weight) for share in stream.action.backends]


def test_connections_go_to_the_backend_of_the_root_path() -> None:
    translation = _translated(_passed("web", {"/api": "two", "/": "one"}))
    stream = _stream(translation)

    assert _services(stream) == [("one", 1)]
    assert isinstance(stream.action, Forward)
    backend = translation.graph.backends[stream.action.backends[0].key]
    assert (backend.protocol, [item.address for item in backend.endpoints]) == (Protocol.TCP, ["10.0.0.1"])
    assert stream.origin.field == "metadata.annotations[ingresskit.dev/tls-passthrough]"
    assert not translation.diagnostics


def test_plain_http_of_the_host_is_served_as_before() -> None:
    passed, plain = _translated(_passed("web", {"/": "one"})), _translated(_web("web", {"/": "one"}))

    assert _host(passed).routes == _host(plain).routes


def test_the_most_specific_host_decides_for_a_server_name() -> None:
    graph = _translated(
        _web("wild", {"/": "one"}, host="*.a.test", tls_passthrough="true"),
        _web("own", {"/": "two"}, host="own.a.test"),
    ).graph
    wild = graph.by_host["*.a.test"].stream

    assert wild is not None
    assert graph.stream_for("X.a.test.") == wild
    assert [graph.stream_for(name) for name in ("own.a.test", "x.y.a.test", "a.test", "", None)] == [None] * 5


def test_the_backend_of_a_stream_is_apart_from_that_of_requests_and_keeps_its_balancing() -> None:
    translation = _translated(_passed("web", {"/": "one"}, load_balancing="client-hash", retries="3"))
    stream = _stream(translation)

    assert isinstance(stream.action, Forward)
    backend = translation.graph.backends[stream.action.backends[0].key]
    assert backend.policies.get(LoadBalancing) is not None
    assert len(translation.graph.backends) == 2


def test_shares_of_a_split_hold_for_connections() -> None:
    translation = _translated(_passed("web", {"/": "one"}, traffic_split="one=3,two=1"))

    assert _services(_stream(translation)) == [("one", 3), ("two", 1)]


def test_lists_of_addresses_and_timeouts_hold_for_connections() -> None:
    translation = _translated(
        _passed("web", {"/": "one"}, allow_sources="10.0.0.0/8", read_timeout="90s", connect_timeout="2s")
    )
    policies = _stream(translation).policies

    assert policies.get(AllowedSources) == AllowedSources(networks=(ipaddress.ip_network("10.0.0.0/8"),))
    timeouts = policies.get(Timeouts)
    assert timeouts is not None
    assert (timeouts.connect, timeouts.read) == (timedelta(seconds=2), timedelta(seconds=90))
    assert not translation.diagnostics


def test_what_acts_on_requests_is_reported_and_closes_nothing() -> None:
    translation = _translated(_passed("web", {"/": "one"}, response_headers_set="X-A: b"))
    (told,) = translation.diagnostics

    assert isinstance(_stream(translation).action, Forward)
    assert (told.reason, told.severity) == (Reason.ANNOTATION_IGNORED, Severity.WARNING)
    assert told.field == "metadata.annotations[ingresskit.dev/response-headers-set]"


@pytest.mark.parametrize(
    "protection",
    [
        pytest.param({"rate_limit": "5/s"}, id="a rate"),
        pytest.param({"connection_limit": "5"}, id="a number at a time"),
        pytest.param({"external_auth_url": "http://auth.default.svc/"}, id="a service that decides"),
    ],
)
def test_a_protection_of_requests_closes_the_host(protection: dict[str, str]) -> None:
    translation = _translated(_passed("web", {"/": "one"}, 1, **protection))
    action = _stream(translation).action

    assert isinstance(action, Close)
    assert [item.message for item in translation.diagnostics if "are closed" in item.message]


def test_a_protection_of_another_path_closes_the_host_too() -> None:
    translation = _translated(
        _passed("web", {"/": "one"}), _web("admin", {"/admin": "two"}, 2, allow_sources="10.1.0.0/16")
    )

    assert isinstance(_stream(translation).action, Close)


def test_a_protection_that_is_not_understood_closes_the_host() -> None:
    translation = _translated(_passed("web", {"/": "one"}), _web("x", {"/x": "two"}, 2, auth_ldap="true"))

    assert isinstance(_stream(translation).action, Close)


def test_without_the_root_path_the_host_is_closed() -> None:
    translation = _translated(_passed("web", {"/api": "one"}))
    (told,) = [item for item in translation.diagnostics if item.reason is Reason.ROUTE_CONFLICT]

    assert isinstance(_stream(translation).action, Close)
    assert "no rule of a.test is for the path /" in told.message


def test_a_service_that_does_not_exist_closes_the_host() -> None:
    translation = _translated(_passed("web", {"/": "missing"}))
    action = _stream(translation).action

    assert isinstance(action, Close)
    assert action.reason is Reason.SERVICE_NOT_FOUND


def test_the_oldest_object_decides_and_others_are_told_what_is_not_reached() -> None:
    translation = _translated(_passed("web", {"/": "one"}), _web("young", {"/y": "two"}, 2))
    (told,) = translation.diagnostics

    assert isinstance(_stream(translation).action, Forward)
    assert (told.subject.key.name, told.severity) == ("young", Severity.WARNING)
    assert "plain HTTP only" in told.message


def test_a_younger_object_cannot_take_the_tls_of_a_host() -> None:
    translation = _translated(_web("web", {"/": "one"}), _passed("young", {"/y": "two"}, 2))
    host = _host(translation)
    actions = {route.match.value: route.action for route in host.routes}
    (told,) = translation.diagnostics

    assert host.stream is None
    assert isinstance(actions["/"], Forward)
    assert isinstance(actions["/y"], Respond)
    assert (told.subject.key.name, told.reason) == ("young", Reason.ROUTE_CONFLICT)


def test_another_namespace_cannot_pass_on_a_host_that_is_held() -> None:
    other = ingress("thief", {"a.test": {"/": "one"}}, namespace="other", created=2, annotations=PASSED)
    translation = _translated(_web("web", {"/": "one"}), other)

    assert _host(translation).stream is None
    assert Reason.HOST_CONFLICT in [item.reason for item in translation.diagnostics]


def test_any_host_cannot_be_passed_on() -> None:
    translation = _translated(ingress("web", {"": {"/": "one"}}, annotations=PASSED))
    host = _host(translation)

    assert host.stream is None
    assert all(isinstance(route.action, Respond) for route in host.routes)
    assert [item.severity for item in translation.diagnostics if "for a host only" in item.message] == [
        Severity.ERROR
    ]


def test_a_wrong_value_closes_the_host() -> None:
    translation = _translated(_web("web", {"/": "one"}, tls_passthrough="maybe"))

    assert all(isinstance(route.action, Respond) for route in _host(translation).routes)


def _nginx(*, passthrough: bool) -> TranslateOptions:
    dialects = [IngressNginxDialect(passthrough=passthrough), KubernetesDialect()]
    return TranslateOptions(policies=PolicyRegistry(dialects))


def _of_nginx(**annotations: str) -> Ingress:
    prefixed = {
        f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": text for key, text in annotations.items()
    }
    return ingress("web", {"a.test": {"/": "one"}}, annotations=prefixed)


def test_ingress_nginx_needs_its_flag() -> None:
    asked = _of_nginx(ssl_passthrough="true")
    without = _translated(asked, options=_nginx(passthrough=False))
    (told,) = without.diagnostics

    assert _host(without).stream is None
    assert told.reason is Reason.ANNOTATION_IGNORED
    assert "--enable-ssl-passthrough" in told.message
    stream = _stream(_translated(asked, options=_nginx(passthrough=True)))
    assert _services(stream) == [("one", 1)]
    assert stream.policies.get(Timeouts) is None


def test_a_change_of_the_annotation_is_followed_and_changes_one_host() -> None:
    translator = Translator()
    others = [_web("other", {"/": "two"}, host="b.test")]
    first = translator.translate(Snapshot.of([*_objects(), *others, _web("web", {"/": "one"})])).graph
    second = translator.translate(Snapshot.of([*_objects(), *others, _passed("web", {"/": "one"})])).graph
    fresh = _translated(*others, _passed("web", {"/": "one"})).graph

    assert second == fresh
    assert second.by_host["b.test"] == first.by_host["b.test"]
    assert second.by_host["a.test"].stream is not None


def test_endpoints_that_go_are_reported() -> None:
    objects: list[KubeObject] = [ingress_class(), service("one"), _passed("web", {"/": "one"})]
    told: list[Diagnostic] = [
        item
        for item in translate(Snapshot.of(objects)).diagnostics
        if "TLS connections for the host a.test are closed" in item.message
    ]

    assert [(item.reason, item.severity) for item in told] == [(Reason.NO_ENDPOINTS, Severity.WARNING)]
