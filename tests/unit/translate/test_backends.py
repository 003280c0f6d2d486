from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from ingresskit.diagnostics import Reason, Severity
from ingresskit.graph import BackendKey, Forward, Protocol
from ingresskit.models import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    ServicePort,
    ServiceSpec,
    Snapshot,
)
from ingresskit.policies import ForeignProtections
from ingresskit.testing import endpoint, endpoint_slice, endpoint_text, ingress, ingress_class, service
from ingresskit.translate import DestinationPolicy, TranslateOptions, translate
from ingresskit.translate.backends import BackendTable, Resolution, ResolvedBackend
from ingresskit.translate.claims import ServiceRef

_KEY = BackendKey("default", "one", 80)


def _table(*objects: KubeObject, external_names: bool = False) -> BackendTable:
    table = BackendTable(DestinationPolicy(external_names=external_names))
    snapshot = Snapshot.of(objects)
    table.advance(snapshot, snapshot.since(Snapshot()))
    return table


def _resolve(table: BackendTable, port: str | int = 80) -> Resolution:
    return table.resolve(ServiceRef(service=ObjectKey("default", "one"), port=port))


def _texts(resolved: ResolvedBackend) -> list[str]:
    return [endpoint_text(item.address, item.port) for item in resolved.backend.endpoints]


@pytest.mark.parametrize(
    ("port", "message"),
    [
        pytest.param(81, "Service default/one has no port 81; it has 80 (http), 8080 (admin)", id="a number"),
        pytest.param(
            "metrics",
            "Service default/one has no port named 'metrics'; it has 80 (http), 8080 (admin)",
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
    assert found.fault.message == "port 53 of Service default/one is UDP, not TCP"


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
        pytest.param((), "Service default/one has no endpoints", id="no slice"),
        pytest.param((endpoint_slice("one"),), "Service default/one has no endpoints", id="an empty slice"),
        pytest.param(
            (endpoint_slice("one", endpoint("10.0.0.1", ready=False)),),
            "none of the 1 endpoints of Service default/one is ready",
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
        ("grpc", Protocol.GRPC),
        ("GRPCS", Protocol.GRPCS),
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
    snapshot = Snapshot.of([*objects, endpoint_slice("two", "10.0.0.3")])
    table.advance(snapshot, snapshot.since(Snapshot.of(objects)))

    assert table.backend(_KEY) is one
    assert _resolve(table) is resolution
    assert table.backend(BackendKey("default", "two", 80)) != two


def test_a_slice_that_moves_to_another_service_leaves_the_first() -> None:
    first, second = service("one"), service("two")
    moving = endpoint_slice("one", "10.0.0.1", name="s")
    table = _table(first, second, moving)
    two = BackendKey("default", "two", 80)
    assert (_texts(table.backend(_KEY)), _texts(table.backend(two))) == (["10.0.0.1:8080"], [])
    snapshot = Snapshot.of([first, second, endpoint_slice("two", "10.0.0.1", name="s")])
    table.advance(snapshot, snapshot.since(Snapshot.of([first, second, moving])))

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


@pytest.mark.parametrize(
    ("port", "names", "note"),
    [
        (
            "http",
            ["web", "admin"],
            "have no port named 'http', as its port 80 is; they have 'admin', 'web'",
        ),
        ("http", [None], "have no port named 'http', as its port 80 is; they have one without a name"),
        (None, ["http"], "have no port without a name, as its port 80 is; they have 'http'"),
        ("http", [f"p{number:02}" for number in range(20)], "'p07' and 12 more"),
    ],
    ids=["other names", "no name", "a name where none is", "many"],
)
def test_endpoints_under_other_port_names_are_named(
    port: str | None, names: list[str | None], note: str
) -> None:
    item = service("one")
    ports = (ServicePort(port=80, name=port),)
    item = replace(item, spec=replace(item.spec, ports=ports))
    held = endpoint_slice("one", "10.0.0.1")
    for objects in (
        [replace(held, ports=tuple(EndpointPort(name=name, port=8080) for name in names))],
        [_legacy_endpoints(names)],
    ):
        found = _table(item, *objects).backend(_KEY)

        assert not found.backend.endpoints
        assert note in found.backend.note


def _legacy_endpoints(names: list[str | None]) -> Endpoints:
    ports = tuple(EndpointPort(name=name, port=8080) for name in names)
    subset = EndpointSubset(addresses=(EndpointAddress(ip="10.0.0.1"),), ports=ports)
    return Endpoints(metadata=ObjectMeta(name="one", namespace="default"), subsets=(subset,))


def test_a_port_that_the_pods_do_not_declare_is_a_warning_and_other_slices_serve() -> None:
    without = replace(endpoint_slice("one", "10.0.0.2"), ports=(EndpointPort(name=None, port=None),))
    without = replace(without, metadata=replace(without.metadata, name="one-without"))
    found = _table(service("one"), endpoint_slice("one", "10.0.0.1"), without).backend(_KEY)

    (told,) = found.diagnostics
    assert _texts(found) == ["10.0.0.1:8080"]
    assert (told.reason, told.severity) == (Reason.NO_ENDPOINTS, Severity.WARNING)
    assert "declare no container port" in told.message


@pytest.mark.parametrize(
    ("port", "told"),
    [
        (ServicePort(port=443), True),
        (ServicePort(port=80, name="https"), True),
        (ServicePort(port=80, name="HTTPS-web"), True),
        (ServicePort(port=80, target_port="https"), True),
        (ServicePort(port=80, target_port=443), True),
        (ServicePort(port=443, name="https", app_protocol="https"), False),
        (ServicePort(port=443, name="https", app_protocol="http"), False),
        (ServicePort(port=8443, name="web"), False),
        (ServicePort(port=80, name="http", target_port="http"), False),
    ],
    ids=str,
)
def test_plain_http_to_a_port_that_looks_like_tls_is_told(port: ServicePort, told: bool) -> None:
    item = service("one")
    item = replace(item, spec=replace(item.spec, ports=(ServicePort(port=1, name="first"), port)))
    found = _table(item).backend(BackendKey("default", "one", port.port))

    reasons = [(item.reason, item.severity, item.field) for item in found.diagnostics]
    assert reasons == ([(Reason.PLAIN_HTTP_TO_TLS_PORT, Severity.WARNING, "spec.ports[1]")] if told else [])
    assert found.backend.protocol is (Protocol.HTTPS if port.app_protocol == "https" else Protocol.HTTP)


@pytest.mark.parametrize(
    ("wanted", "advice"),
    [
        (9001, "that is the targetPort of 80 (http)"),
        ("web", "that is the targetPort of 81"),
        ("80", "port.number: 80"),
    ],
)
def test_a_port_that_is_meant_otherwise_is_named(wanted: str | int, advice: str) -> None:
    item = service("one")
    ports = (ServicePort(port=80, name="http", target_port=9001), ServicePort(port=81, target_port="web"))
    item = replace(item, spec=replace(item.spec, ports=ports))
    fault = _resolve(_table(item), wanted).fault

    assert fault is not None
    assert advice in fault.message
