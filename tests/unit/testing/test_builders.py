from __future__ import annotations

import ssl
from datetime import timedelta

import pytest

from ingresskit.models import ObjectKey, ServiceBackendPort
from ingresskit.testing import (
    EPOCH,
    backend,
    endpoint,
    endpoint_slice,
    ingress,
    ingress_class,
    make_certificate,
    path,
    service,
    tls_secret,
)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("one", ServiceBackendPort(number=80)),
        ("one:8080", ServiceBackendPort(number=8080)),
        ("one:http", ServiceBackendPort(name="http")),
    ],
)
def test_a_backend_in_one_word(text: str, port: ServiceBackendPort) -> None:
    made = backend(text).service

    assert made is not None
    assert (made.name, made.port) == ("one", port)


@pytest.mark.parametrize(
    ("text", "kind", "written"),
    [
        ("/x", "Prefix", "/x"),
        ("=/x", "Exact", "/x"),
        ("~/x", "ImplementationSpecific", "/x"),
        ("x", "Prefix", "x"),
        ("", "Prefix", ""),
    ],
)
def test_a_path_in_one_word(text: str, kind: str, written: str) -> None:
    made = path(text, "one")

    assert (made.path_type, made.path) == (kind, written)


def test_an_ingress_in_one_line() -> None:
    made = ingress(
        "web",
        {"a.test": {"/": "one"}, "": None},
        namespace="shop",
        created=2,
        default="two",
        tls={"tls": ["a.test"], "": []},
        annotations={"retries": "1", "example.com/x": "y"},
    )

    assert made.key == ObjectKey("shop", "web")
    assert made.metadata.creation_timestamp == EPOCH + timedelta(days=2)
    assert dict(made.metadata.annotations) == {"ingresskit.dev/retries": "1", "example.com/x": "y"}
    assert [rule.host for rule in made.spec.rules] == ["a.test", None]
    assert made.spec.rules[1].http is None
    assert [(item.secret_name, item.hosts) for item in made.spec.tls] == [("tls", ("a.test",)), (None, ())]
    assert made.spec.ingress_class_name == "ingresskit"


def test_a_service_and_its_slice_belong_together() -> None:
    made = endpoint_slice("one", "10.0.0.1", endpoint("10.0.0.2", ready=False), ports={"http": 8080})

    assert made.service == service("one", {"http": 80}).key
    assert made.address_type == "IPv4"
    assert [item.addresses for item in made.endpoints] == [("10.0.0.1",), ("10.0.0.2",)]
    assert endpoint_slice("one", "2001:db8::1").address_type == "IPv6"


def test_an_external_name_makes_the_type() -> None:
    assert service("one", external_name="x.test").spec.type == "ExternalName"
    assert service("one").spec.type is None


def test_a_class_is_ours_unless_said_otherwise() -> None:
    assert ingress_class().spec.controller == "ingresskit.dev/ingress-controller"
    assert ingress_class(default=True).metadata.annotations


def test_a_certificate_is_made_once_and_by_its_arguments() -> None:
    assert make_certificate("a.test") is make_certificate("a.test")
    assert make_certificate("a.test").chain != make_certificate("a.test", salt="x").chain
    assert make_certificate("a.test") != make_certificate("b.test")


def test_a_fingerprint_is_that_of_the_certificate_on_the_wire() -> None:
    import hashlib

    made = make_certificate("a.test")

    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(made.chain.decode())).hexdigest() == made.fingerprint


def test_a_key_shows_nowhere() -> None:
    assert "PRIVATE" not in repr((make_certificate("a.test"), tls_secret("a.test")))
