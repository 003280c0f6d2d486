from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import BackendKey, Forward, Protocol
from ingresskit.models import KubeObject, ObjectKey, ServicePort, ServiceSpec, Snapshot
from ingresskit.policies import ForeignProtections
from ingresskit.testing import endpoint, endpoint_slice, endpoint_text, ingress, ingress_class, service
from ingresskit.translate import DestinationPolicy, TranslateOptions, translate
from ingresskit.translate.backends import BackendTable, Resolution, ResolvedBackend
from ingresskit.translate.rules import ServiceRef

_KEY = BackendKey("default", "one", 80)


def _table(*objects: KubeObject, external_names: bool = False) -> BackendTable:
    table = BackendTable(DestinationPolicy(external_names=external_names))
    table.advance(Snapshot.of(objects))
    return table


def _resolve(table: BackendTable, port: str | int = 80) -> Resolution:
    return table.resolve(ServiceRef(service=ObjectKey("default", "one"), port=port))


def _texts(resolved: ResolvedBackend) -> list[str]:
    return [endpoint_text(item.address, item.port) for item in resolved.backend.endpoints]


@pytest.mark.parametrize(
    ("port", "message"),
    [
        pytest.param(
            81, "the Service default/one has no port 81; it has 80 (http), 8080 (admin)", id="a number"
        ),
        pytest.param(
            "metrics",
            "the Service default/one has no port named 'metrics'; it has 80 (http), 8080 (admin)",
            id="a name",
        ),
        pytest.param("80", "has no port named '80'", id="a number as a name"),
        pytest.param(-1, "has no port -1", id="a negative number"),
    ],
)
def test_a_port_is_not_found(port: str | int, message: str) -> None:
    found = _resolve(_table(service("one", {"http": 80, "admin": 8080})), port)

    assert found.key is None
    assert found.fault is not None
    assert found.fault.reason is Reason.SERVICE_PORT_NOT_FOUND
    assert message in found.fault.message


def test_a_name_and_a_number_of_one_port_are_one_backend() -> None:
    table = _table(service("one", {"http": 80}))

    assert _resolve(table, "http").key == _resolve(table, 80).key == _KEY


def test_a_port_that_is_not_tcp_is_not_served() -> None:
    spec = ServiceSpec(ports=(ServicePort(name="dns", port=53, protocol="UDP"),))
    found = _resolve(_table(dataclasses.replace(service("one"), spec=spec)), 53)

    assert found.fault is not None
    assert found.fault.message == "port 53 of the Service default/one is UDP, not TCP"


def test_endpoints_are_sorted_by_address_and_not_by_text() -> None:
    table = _table(service("one"), endpoint_slice("one", "10.0.0.10", "10.0.0.9", "2001:db8::1", "9.0.0.1"))

    assert _texts(table.backend(_KEY)) == [
        "9.0.0.1:8080",
        "10.0.0.9:8080",
        "10.0.0.10:8080",
        "[2001:db8::1]:8080",
    ]


def test_an_address_is_listed_once_in_its_shortest_form() -> None:
    table = _table(service("one"), endpoint_slice("one", "2001:DB8:0::1", "2001:db8::1"))

    assert _texts(table.backend(_KEY)) == ["[2001:db8::1]:8080"]


@pytest.mark.parametrize(
    ("objects", "note"),
    [
        pytest.param((), "the Service default/one has no endpoints", id="no slice"),
        pytest.param((endpoint_slice("one"),), "the Service default/one has no endpoints", id="an empty slice"),
        pytest.param(
            (endpoint_slice("one", endpoint("10.0.0.1", ready=False)),),
            "none of the 1 endpoints of the Service default/one is ready",
            id="nothing ready",
        ),
    ],
)
def test_a_backend_without_endpoints_says_why(objects: tuple[KubeObject, ...], note: str) -> None:
    backend = _table(service("one"), *objects).backend(_KEY).backend

    assert (backend.endpoints, backend.note) == ((), note)


@pytest.mark.parametrize(
    ("said", "protocol"),
    [
        (None, Protocol.HTTP),
        ("http", Protocol.HTTP),
        ("HTTPS", Protocol.HTTPS),
        ("kubernetes.io/ws", Protocol.HTTP),
        ("kubernetes.io/wss", Protocol.HTTPS),
        ("kubernetes.io/h2c", Protocol.H2C),
        ("grpc", Protocol.H2C),
    ],
)
def test_the_protocol_of_a_port_is_read(said: str | None, protocol: Protocol) -> None:
    resolved = _table(service("one", app_protocol=said)).backend(_KEY)

    assert resolved.backend.protocol is protocol
    assert not resolved.diagnostics


def test_a_protocol_that_nobody_knows_is_told_and_spoken_as_http() -> None:
    resolved = _table(service("one", app_protocol="gopher")).backend(_KEY)

    assert resolved.backend.protocol is Protocol.HTTP
    assert [(item.reason, item.field) for item in resolved.diagnostics] == [
        (Reason.PROTOCOL_UNSUPPORTED, "spec.ports[0].appProtocol")
    ]


def test_an_external_name_needs_no_port_of_the_service() -> None:
    spec = ServiceSpec(type="ExternalName", external_name="x.example.com")
    table = _table(dataclasses.replace(service("one"), spec=spec), external_names=True)

    found = _resolve(table, 8443)
    assert found.key is not None
    assert _texts(table.backend(found.key)) == ["x.example.com:8443"]


def test_what_did_not_change_is_the_same_object() -> None:
    objects = (
        service("one"),
        service("two"),
        endpoint_slice("one", "10.0.0.1"),
        endpoint_slice("two", "10.0.0.2"),
    )
    table = _table(*objects)
    one, two = table.backend(_KEY), table.backend(BackendKey("default", "two", 80))
    resolution = _resolve(table)
    table.advance(Snapshot.of([*objects, endpoint_slice("two", "10.0.0.3")]))

    assert table.backend(_KEY) is one
    assert _resolve(table) is resolution
    assert table.backend(BackendKey("default", "two", 80)) != two


def test_a_slice_that_moves_to_another_service_leaves_the_first() -> None:
    first, second = service("one"), service("two")
    table = _table(first, second, endpoint_slice("one", "10.0.0.1", name="s"))
    two = BackendKey("default", "two", 80)
    assert (_texts(table.backend(_KEY)), _texts(table.backend(two))) == (["10.0.0.1:8080"], [])
    table.advance(Snapshot.of([first, second, endpoint_slice("two", "10.0.0.1", name="s")]))

    assert (_texts(table.backend(_KEY)), _texts(table.backend(two))) == ([], ["10.0.0.1:8080"])


@pytest.mark.parametrize(
    ("protections", "status"), [(ForeignProtections.CLOSE, 503), (ForeignProtections.WARN, None)], ids=str
)
def test_routes_to_a_service_that_asks_another_controller_for_a_protection_are_closed(
    protections: ForeignProtections, status: int | None
) -> None:
    guarded = service("web")
    guarded = replace(
        guarded, metadata=replace(guarded.metadata, annotations={"konghq.com/plugins": "key-auth"})
    )
    translation = translate(
        Snapshot.of(
            [
                ingress_class(),
                ingress("web", {"a.test": {"/": "web", "/open": "other"}}),
                guarded,
                endpoint_slice("web", "10.0.0.1"),
                service("other"),
                endpoint_slice("other", "10.0.0.2"),
            ]
        ),
        TranslateOptions(foreign_protections=protections),
    )
    closed, opened = (translation.graph.resolve("a.test", path) for path in ("/", "/open"))
    told = translation.diagnostics

    assert closed is not None
    assert opened is not None
    assert getattr(closed.action, "status", None) == status
    assert isinstance(opened.action, Forward)
    assert {item.reason for item in told} == {Reason.ANNOTATION_FOREIGN}
    assert any("konghq.com/plugins" in f"{item.field}{item.message}" for item in told)
