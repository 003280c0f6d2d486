"""The bounds of what is read from objects: ports, certificate names, and the field that a fault names."""

from __future__ import annotations

import ipaddress

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import BackendKey
from ingresskit.models import IngressBackend, KubeObject, Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import DestinationPolicy, Translation, translate


def translated(*objects: KubeObject) -> Translation:
    return translate(Snapshot.of([ingress_class(), *objects]))


@pytest.mark.parametrize(
    ("number", "served"), [(0, False), (1, True), (65535, True), (65536, False), (-1, False)]
)
def test_a_port_of_a_slice_is_from_1_to_65535(number: int, served: bool) -> None:
    translation = translated(
        ingress("web", {"a.test": {"/": "web"}}),
        service("web"),
        endpoint_slice("web", "10.0.0.1", ports=number),
    )

    (backend,) = translation.graph.backends.values()
    refused = [found.field for found in translation.diagnostics if found.reason is Reason.ADDRESS_REFUSED]
    assert [item.port for item in backend.endpoints] == ([number] if served else [])
    assert refused == ([] if served else ["ports[0].port"])


@pytest.mark.parametrize("number", [0, 65536])
def test_a_port_of_a_service_that_is_no_port_is_answered_with_the_reason(number: int) -> None:
    translation = translated(
        ingress("web", {"a.test": {"/": f"web:{number}"}}),
        service("web", number),
        endpoint_slice("web", "10.0.0.1"),
    )

    reasons = {item.reason for item in translation.diagnostics}
    assert BackendKey("default", "web", number) not in translation.graph.backends
    assert reasons & {Reason.SERVICE_PORT_NOT_FOUND, Reason.INVALID_BACKEND}


@pytest.mark.parametrize("number", [0, 65536])
def test_a_port_of_a_service_is_judged_when_it_is_asked_for_by_name(number: int) -> None:
    translation = translated(
        ingress("web", {"a.test": {"/": "web:http"}}),
        service("web", {"http": number}),
        endpoint_slice("web", "10.0.0.1"),
    )

    assert not translation.graph.backends
    assert Reason.SERVICE_PORT_NOT_FOUND in {item.reason for item in translation.diagnostics}


def test_a_fault_of_the_default_backend_names_its_field() -> None:
    translation = translated(ingress("web", default="missing"))

    fields = [item.field for item in translation.diagnostics if item.reason is Reason.SERVICE_NOT_FOUND]
    assert fields == ["spec.defaultBackend"]


def test_a_default_backend_without_a_service_is_reported_at_its_field() -> None:
    translation = translated(ingress("web", default=IngressBackend()))

    fields = [item.field for item in translation.diagnostics if item.reason is Reason.INVALID_BACKEND]
    assert [field.split(".")[:2] for field in fields] == [["spec", "defaultBackend"]]


@pytest.mark.parametrize("name", ["bad_name", "a b", "*.*.x"])
def test_an_impossible_name_of_a_certificate_costs_only_itself(name: str) -> None:
    item = ingress("web", {"a.test": {"/": "web"}}, tls={"tls": []})

    translation = translated(
        item, service("web"), endpoint_slice("web", "10.0.0.1"), tls_secret(name, "a.test")
    )

    assert list(translation.graph.server_names) == ["a.test"]


def inside_local_nat64(address: str, prefix: int) -> str:
    """An IPv4 address behind 64:ff9b:1::/48 or a longer prefix in it, as RFC 6052, section 2.2 places it.

    All other octets are such that no other form of the RFC reads a refused address out of them.
    """
    places = {48: (6, 7, 9, 10), 56: (7, 9, 10, 11), 64: (9, 10, 11, 12)}[prefix]
    octets = bytearray(ipaddress.IPv6Address("64:ff9b:1:a0b:c:d0e:f10:1112").packed)
    for place, octet in zip(places, ipaddress.IPv4Address(address).packed, strict=True):
        octets[place] = octet
    return str(ipaddress.IPv6Address(bytes(octets)))


@pytest.mark.parametrize("prefix", [48, 56, 64])
@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.10", "168.63.129.16", "100.100.100.200"])
def test_an_address_behind_a_local_nat64_prefix_is_judged_by_all_its_octets(address: str, prefix: int) -> None:
    policy = DestinationPolicy()

    assert policy.fault(inside_local_nat64(address, prefix)) is not None
    assert policy.fault(inside_local_nat64("10.1.2.3", prefix)) is None
