"""Policies of the TLS handshake with clients: which values are refused, and what then becomes of a host."""

from __future__ import annotations

from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Forward, Respond, RouteGraph
from ingresskit.models import KubeObject, ObjectKey, ObjectRef, Secret, Snapshot
from ingresskit.policies import (
    CertificateMode,
    ClientCertificates,
    HostTls,
    IngressNginxDialect,
    NativeDialect,
    PolicyRegistry,
    Reading,
)
from ingresskit.testing import ca_secret, endpoint_slice, ingress, ingress_class, make_authority, service
from ingresskit.translate import TranslateOptions, Translation, translate

K = TypeVar("K", bound=KubeObject)

SUBJECT = ObjectRef("Ingress", ObjectKey("default", "web"))
CA = make_authority("Staff CA")
PREFIX = "nginx.ingress.kubernetes.io"


def read(annotations: dict[str, str], *secrets: Secret, registry: PolicyRegistry | None = None) -> Reading:
    found = {item.key: item for item in secrets}

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        item = found.get(key)
        return item if isinstance(item, kind) else None

    return (registry or PolicyRegistry([NativeDialect()])).read(
        {name if "/" in name else f"ingresskit.dev/{name}": text for name, text in annotations.items()},
        SUBJECT,
        objects,
    )


def nginx(annotations: dict[str, str], *secrets: Secret) -> Reading:
    return read(
        {f"{PREFIX}/{name}": text for name, text in annotations.items()},
        *secrets,
        registry=PolicyRegistry([IngressNginxDialect()]),
    )


def test_native_annotations_ask_for_certificates() -> None:
    reading = read(
        {
            "client-ca-secret": "ca",
            "client-certificate": "optional",
            "client-certificate-depth": "3",
            "client-certificate-name": "[a-z]+",
            "client-certificate-error-page": "https://help.test/",
            "client-certificate-header": "true",
        },
        ca_secret(CA),
    )

    policy = reading.policies.get(ClientCertificates)
    assert policy is not None
    assert policy.authorities.certificates == CA.certificate
    assert (policy.mode, policy.depth, policy.forwarded) == (CertificateMode.OPTIONAL, 3, True)
    assert (policy.common_name, policy.error_page) == ("[a-z]+", "https://help.test/")
    assert reading.diagnostics == ()


def test_no_certificate_is_in_a_text_of_the_policy() -> None:
    policy = read({"client-ca-secret": "ca"}, ca_secret(CA)).policies.get(ClientCertificates)

    assert "BEGIN" not in repr(policy)


@pytest.mark.parametrize(
    ("annotations", "secrets"),
    [
        ({"client-ca-secret": "ca"}, []),
        ({"client-ca-secret": "other/ca"}, [ca_secret(CA, namespace="other")]),
        ({"client-ca-secret": "ca"}, [Secret(metadata=ca_secret(CA).metadata)]),
        ({"client-ca-secret": "ca"}, [Secret(metadata=ca_secret(CA).metadata, data={"ca.crt": b"junk"})]),
        ({"client-ca-secret": "ca"}, [ca_secret(CA, revoked=b"junk")]),
        ({"client-certificate": "required"}, []),
        ({"client-ca-secret": "ca", "client-certificate": "maybe"}, [ca_secret(CA)]),
        ({"client-ca-secret": "ca", "client-certificate-depth": "-1"}, [ca_secret(CA)]),
        ({"client-ca-secret": "ca", "client-certificate-name": "(a+)+"}, [ca_secret(CA)]),
        ({"client-ca-secret": "ca", "client-certificate-name": ""}, [ca_secret(CA)]),
        ({"client-ca-secret": "ca", "client-certificate-error-page": "//x"}, [ca_secret(CA)]),
    ],
    ids=[
        "no Secret",
        "another namespace",
        "an empty Secret",
        "no certificate",
        "no revocation list",
        "no CA named",
        "an unknown mode",
        "a depth below 0",
        "a costly pattern",
        "an empty pattern",
        "no URL",
    ],
)
def test_what_cannot_be_read_closes(annotations: dict[str, str], secrets: list[Secret]) -> None:
    reading = read(annotations, *secrets)

    assert reading.protection_fault is not None
    assert [kind for kind, _ in reading.host_faults][:1] == [ClientCertificates]


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384", True),
        ("HIGH", True),
        ("ALL:!aNULL", True),
        ("ALL", False),
        ("aNULL", False),
        ("RC4-SHA", False),
        ("NULL-SHA256", False),
        ("AES128-SHA; ssl_verify_client off", False),
        ("DEFAULT@SECLEVEL=0", False),
        ("HIGH:!aNULL:@SECLEVEL=0", False),
        ("aNULL:!MD5", False),
        ("eNULL:+HIGH", False),
        ("RC4:!MD5", False),
        ("", False),
    ],
)
def test_ciphers_are_lists_that_protect(text: str, accepted: bool) -> None:
    reading = read({"tls-ciphers": text})

    assert (HostTls in reading.policies) is accepted
    assert bool(reading.diagnostics) is not accepted


def test_ingress_nginx_asks_with_its_defaults() -> None:
    reading = nginx({"auth-tls-secret": "default/ca"}, ca_secret(CA))

    policy = reading.policies.get(ClientCertificates)
    assert policy is not None
    assert (policy.mode, policy.depth, policy.forwarded) == (CertificateMode.REQUIRED, 1, False)
    assert reading.protection_fault is None


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"auth-tls-secret": "ca"}, Reason.ANNOTATION_INVALID),
        ({"auth-tls-secret": "default/gone"}, Reason.SECRET_NOT_FOUND),
        ({"auth-tls-secret": "other/ca"}, Reason.SECRET_NOT_FOUND),
        ({"auth-tls-secret": "default/ca", "auth-tls-match-cn": "alice"}, Reason.ANNOTATION_INVALID),
        ({"auth-tls-secret": "default/ca", "auth-tls-match-cn": "CN=(a*)*b"}, Reason.ANNOTATION_INVALID),
        ({"auth-tls-secret": "default/ca", "auth-tls-match-cn": "CN=a,O=b"}, Reason.ANNOTATION_INVALID),
    ],
)
def test_ingress_nginx_closes_what_cannot_be_read(annotations: dict[str, str], reason: Reason) -> None:
    reading = nginx(annotations, ca_secret(CA), ca_secret(CA, namespace="other"))

    assert reading.protection_fault is not None
    assert reading.protection_fault.reason is reason
    assert reading.host_faults


def test_ingress_nginx_switched_off_asks_for_nothing() -> None:
    reading = nginx({"auth-tls-secret": "default/gone", "auth-tls-verify-client": "off"})

    assert ClientCertificates not in reading.policies
    assert reading.protection_fault is None


def translated(*objects: KubeObject) -> Translation:
    base = [ingress_class(), service("web"), endpoint_slice("web", "10.0.0.1")]
    return translate(Snapshot.of([*base, *objects]), TranslateOptions())


def actions(graph: RouteGraph) -> list[type]:
    return [type(route.action) for route in graph.by_host["a.test"].routes]


def test_a_missing_ca_closes_the_whole_host_and_not_those_beside_it() -> None:
    asking = ingress("web", {"a.test": {"/": "web"}}, annotations={"client-ca-secret": "ca"})
    beside = ingress("more", {"a.test": {"/open": "web"}, "b.test": {"/": "web"}}, created=1)

    closed, built = translated(asking, beside).graph, translated(asking, beside, ca_secret(CA)).graph

    assert actions(closed) == [Respond, Respond]
    assert isinstance(closed.by_host["b.test"].routes[0].action, Forward)
    assert actions(built) == [Forward, Forward]
    assert ClientCertificates in built.by_host["a.test"].policies


def test_a_younger_object_cannot_close_the_host_of_an_older_one() -> None:
    older = ingress("web", {"a.test": {"/": "web"}}, annotations={"client-ca-secret": "ca"})
    younger = ingress("more", {"a.test": {"/x": "web"}}, annotations={"client-ca-secret": "gone"}, created=1)

    result = translated(older, younger, ca_secret(CA))

    assert sorted(actions(result.graph), key=lambda kind: kind.__name__) == [Forward, Respond]


def test_the_oldest_object_decides_and_another_wish_closes_its_own_routes() -> None:
    older = ingress("web", {"a.test": {"/": "web"}}, annotations={"client-ca-secret": "ca"})
    younger = ingress(
        "more",
        {"a.test": {"/x": "web"}},
        annotations={"client-ca-secret": "ca", "client-certificate-name": "bob"},
        created=1,
    )

    result = translated(older, younger, ca_secret(CA))

    assert Reason.ROUTE_CONFLICT in {item.reason for item in result.diagnostics}
    assert sorted(actions(result.graph), key=lambda kind: kind.__name__) == [Forward, Respond]
