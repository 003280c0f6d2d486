"""Further ports: the ConfigMap of ingress-nginx, entry by entry."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason, Severity
from ingresskit.graph import Close, Forward, Protocol, StreamRoute, diff
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, Snapshot
from ingresskit.testing import endpoint_slice, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, Translator, translate

_OPTIONS = TranslateOptions(
    tcp_services=ObjectKey("edge", "tcp"),
    udp_services=ObjectKey("edge", "udp"),
    own_ports=frozenset({8080}),
)


def _config(data: dict[str, str], name: str = "tcp") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="edge", name=name), data=data)


def _objects(*more: KubeObject) -> Snapshot:
    return Snapshot.of(
        [
            ingress_class(),
            service("db", namespace="data"),
            endpoint_slice("db", "10.0.0.1", namespace="data"),
            *more,
        ]
    )


def _translated(data: dict[str, str]) -> Translation:
    return translate(_objects(_config(data)), _OPTIONS)


def _only(translation: Translation) -> StreamRoute:
    (stream,) = translation.graph.ports.values()
    return stream


def test_an_entry_becomes_a_port_with_the_endpoints_of_its_service() -> None:
    translation = _translated({"9000": "data/db:80"})
    stream = _only(translation)

    assert list(translation.graph.ports) == [9000]
    assert isinstance(stream.action, Forward)
    backend = translation.graph.backends[stream.action.backends[0].key]
    assert (backend.protocol, [item.address for item in backend.endpoints]) == (Protocol.TCP, ["10.0.0.1"])
    assert stream.origin.field == "data[9000]"
    assert not translation.diagnostics


@pytest.mark.parametrize(
    ("text", "accepts", "sends"),
    [
        pytest.param("data/db:80:PROXY", True, False, id="read"),
        pytest.param("data/db:80::PROXY", False, True, id="sent"),
        pytest.param("data/db:80:PROXY:PROXY", True, True, id="both"),
    ],
)
def test_proxy_headers_are_as_ingress_nginx_writes_them(text: str, accepts: bool, sends: bool) -> None:
    stream = _only(_translated({"9000": text}))

    assert (stream.accepts_proxy, stream.sends_proxy) == (accepts, sends)


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        pytest.param("0", "data/db:80", Reason.OBJECT_INVALID, id="port 0"),
        pytest.param("70000", "data/db:80", Reason.OBJECT_INVALID, id="a port that is too large"),
        pytest.param("http", "data/db:80", Reason.OBJECT_INVALID, id="a name for a port"),
        pytest.param("9001", "db:80", Reason.OBJECT_INVALID, id="no namespace"),
        pytest.param("9001", "data/db", Reason.OBJECT_INVALID, id="no port of the Service"),
        pytest.param("9001", "data/db:80:PROXY:PROXY:PROXY", Reason.OBJECT_INVALID, id="too much"),
        pytest.param("9001", "data/db:80\nlisten 1", Reason.OBJECT_INVALID, id="two lines"),
        pytest.param("8080", "data/db:80", Reason.ROUTE_CONFLICT, id="a port of the proxy itself"),
        pytest.param("9001", "data/missing:80", Reason.SERVICE_NOT_FOUND, id="no Service"),
        pytest.param("9001", "data/db:81", Reason.SERVICE_PORT_NOT_FOUND, id="no such port"),
    ],
)
def test_a_wrong_entry_has_one_diagnostic_and_costs_no_other(key: str, text: str, reason: Reason) -> None:
    translation = _translated({"9000": "data/db:80", key: text})
    (told,) = translation.diagnostics

    assert (told.reason, told.severity) == (reason, Severity.ERROR)
    assert (told.subject.kind, told.field) == ("ConfigMap", f"data[{key}]")
    assert isinstance(translation.graph.ports[9000].action, Forward)
    assert all(isinstance(item.action, Close) for port, item in translation.graph.ports.items() if port != 9000)


def test_udp_is_reported_for_each_entry() -> None:
    translation = translate(
        _objects(_config({}), _config({"53": "data/db:80", "54": "data/db:80"}, "udp")), _OPTIONS
    )

    assert [(item.field, item.reason) for item in translation.diagnostics] == [
        ("data[53]", Reason.PROTOCOL_UNSUPPORTED),
        ("data[54]", Reason.PROTOCOL_UNSUPPORTED),
    ]


def test_a_configmap_that_is_not_there_is_reported() -> None:
    (told,) = translate(_objects(), _OPTIONS).diagnostics

    assert told.reason is Reason.CONFIG_MAP_NOT_FOUND


def test_a_port_without_endpoints_is_reported() -> None:
    objects = [ingress_class(), service("db", namespace="data"), _config({"9000": "data/db:80"})]
    (told,) = translate(Snapshot.of(objects), _OPTIONS).diagnostics

    assert (told.reason, told.field) == (Reason.NO_ENDPOINTS, "data[9000]")
    assert "port 9000 are closed" in told.message


def test_changes_are_followed_and_equal_a_translation_from_scratch() -> None:
    translator = Translator(_OPTIONS)
    first = translator.translate(_objects(_config({"9000": "data/db:80"}))).graph
    second = translator.translate(_objects(_config({"9001": "data/db:80", "9000": "data/gone:80"}))).graph
    third = translator.translate(_objects(_config({}))).graph

    assert second == _translated({"9001": "data/db:80", "9000": "data/gone:80"}).graph
    assert diff(first, second).ports.added == (9001,)
    assert diff(first, second).ports.changed == (9000,)
    assert third == _translated({}).graph
    assert not third.backends
