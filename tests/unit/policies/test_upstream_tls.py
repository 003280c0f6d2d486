"""TLS with endpoints: which values are refused, and what ingress-nginx means by its own."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import Secret
from ingresskit.policies import TlsVersion, UpstreamTls
from ingresskit.testing import ca_secret, make_authority
from tests.unit.policies.test_certificates import nginx, read

CA = make_authority("Endpoint CA")
OURS = CA.issue("gateway")
KEYS = {"tls.crt": OURS.chain, "tls.key": OURS.private_key}
BASE = {"backend-protocol": "HTTPS", "proxy-ssl-secret": "default/ca"}


def test_native_annotations_ask_for_verified_endpoints() -> None:
    reading = read(
        {
            "upstream-tls-ca-secret": "ca",
            "upstream-tls-client-secret": "ca",
            "upstream-tls-name": "Pods.Example",
            "upstream-tls-versions": "1.3",
        },
        ca_secret(CA, client=OURS),
    )

    policy = reading.policies.get(UpstreamTls)
    assert policy is not None
    assert policy.verifies
    assert policy.identity is not None
    assert (policy.identity.chain, policy.name) == (OURS.chain, "pods.example")
    assert policy.versions == (TlsVersion.V1_3,)
    assert "PRIVATE KEY" not in repr(policy)


@pytest.mark.parametrize(
    "annotations",
    [
        {"upstream-tls-verify": "true"},
        {"upstream-tls-ca-secret": "gone"},
        {"upstream-tls-ca-secret": "ca", "upstream-tls-name": ""},
        {"upstream-tls-ca-secret": "ca", "upstream-tls-name": "10.0.0.1"},
        {"upstream-tls-ca-secret": "ca", "upstream-tls-verify": "perhaps"},
        {"upstream-tls-client-secret": "ca"},
    ],
    ids=["no CA", "no Secret", "an empty name", "an address", "no boolean", "no certificate"],
)
def test_what_cannot_be_verified_closes(annotations: dict[str, str]) -> None:
    assert read(annotations, ca_secret(CA)).protection_fault is not None


def test_verification_is_what_a_ca_means_unless_switched_off() -> None:
    on = read({"upstream-tls-ca-secret": "ca"}, ca_secret(CA)).policies.get(UpstreamTls)
    off = read({"upstream-tls-ca-secret": "ca", "upstream-tls-verify": "false"}, ca_secret(CA))
    switched = off.policies.get(UpstreamTls)

    assert on is not None
    assert on.verifies
    assert switched is not None
    assert not switched.verifies


def test_an_empty_name_is_that_of_the_service() -> None:
    verified, open_ = UpstreamTls(verify=True), UpstreamTls(verify=False)

    assert verified.name_for("web", "shop") == "web.shop.svc"
    assert open_.name_for("web", "shop") == ""
    assert UpstreamTls(verify=True, name="x.test").name_for("web", "shop") == "x.test"


def test_ingress_nginx_shows_a_certificate_and_verifies_where_it_is_told_to() -> None:
    secret = ca_secret(CA, client=OURS)
    shown = nginx(BASE, secret).policies.get(UpstreamTls)
    more = {"proxy-ssl-verify": "on", "proxy-ssl-name": "pods.example", "proxy-ssl-server-name": "on"}
    verified = nginx({**BASE, **more}, secret)

    assert shown is not None
    assert not shown.verifies
    assert (shown.send_name, shown.versions, shown.depth) == (False, (TlsVersion.V1_2,), 1)
    policy = verified.policies.get(UpstreamTls)
    assert policy is not None
    assert policy.verifies
    assert (policy.name, policy.send_name) == ("pods.example", True)
    assert verified.diagnostics == ()


@pytest.mark.parametrize(
    ("annotations", "secrets", "reason"),
    [
        ({}, [], Reason.SECRET_NOT_FOUND),
        ({"proxy-ssl-secret": "ca"}, [], Reason.ANNOTATION_INVALID),
        ({"proxy-ssl-secret": "other/ca"}, [ca_secret(CA, namespace="other")], Reason.SECRET_NOT_FOUND),
        (
            {"proxy-ssl-verify": "on"},
            [
                Secret(
                    metadata=ca_secret(CA).metadata, data={"tls.crt": OURS.chain, "tls.key": OURS.private_key}
                )
            ],
            Reason.ANNOTATION_INVALID,
        ),
        (
            {"proxy-ssl-verify": "on", "proxy-ssl-name": "$host"},
            [ca_secret(CA)],
            Reason.ANNOTATION_INVALID,
        ),
    ],
    ids=["no Secret", "no namespace", "another namespace", "no CA", "a variable for a name"],
)
def test_ingress_nginx_closes_what_cannot_be_verified(
    annotations: dict[str, str], secrets: list[Secret], reason: Reason
) -> None:
    reading = nginx({**BASE, **annotations}, *secrets)

    assert reading.protection_fault is not None
    assert reading.protection_fault.reason is reason


def test_ingress_nginx_says_what_is_without_effect() -> None:
    plain = nginx({"proxy-ssl-secret": "default/ca", "proxy-ssl-verify": "on"}, ca_secret(CA))
    nameless = nginx({**BASE, "proxy-ssl-verify": "on"}, ca_secret(CA))

    assert UpstreamTls not in plain.policies
    assert [item.reason for item in plain.diagnostics] == [Reason.ANNOTATION_IGNORED]
    assert "web.shop.svc" in nameless.diagnostics[0].message
