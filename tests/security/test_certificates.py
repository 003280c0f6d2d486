"""A tenant's certificate costs each handshake little, and takes no server name from another namespace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ingresskit.models import ObjectKey, Secret, Snapshot
from ingresskit.testing.builders import ingress, ingress_class
from ingresskit.testing.certificates import make_certificate, tls_secret
from ingresskit.translate import translate
from ingresskit.translate.certificates import read_certificate


def _secret(chain: bytes) -> Secret:
    made = tls_secret("h.test")
    return replace(made, data={**made.data, "tls.crt": chain})


def _with_rsa_bits(bits: int) -> bytes:
    """A certificate for an RSA key of that size, which nobody has."""
    name = x509.Name([])
    public = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(datetime(2024, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2124, 1, 1, tzinfo=UTC))
        .sign(ec.derive_private_key(1, ec.SECP256R1()), hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def test_an_rsa_key_that_makes_each_handshake_slow_is_refused() -> None:
    secret = _secret(_with_rsa_bits(8192))

    assert "8192 bits" in read_certificate(secret).fault


@pytest.mark.parametrize("size", [8, 120])
def test_a_chain_longer_than_clients_take_is_refused(size: int) -> None:
    chain = make_certificate("h.test").chain
    long = chain * (size * 1024 // len(chain))

    parsed = read_certificate(_secret(long))

    assert (parsed.certificate is None) is (size > 100)


def test_a_key_that_is_mostly_something_else_is_refused() -> None:
    key = make_certificate("h.test").private_key + b"\n" + b"x" * 20_000

    assert "16384" in read_certificate(tls_secret("h.test", key=key)).fault


@pytest.mark.parametrize("named", [["victim.test"], ["*.test"], [], ["victim.test", "*.test"]])
@pytest.mark.parametrize("owns_wildcard", [False, True])
def test_a_certificate_of_another_namespace_answers_for_no_held_host(
    named: list[str], *, owns_wildcard: bool
) -> None:
    """Not even an older one, on a wildcard that its namespace holds, or for whatever it is made out to."""
    rules = {"*.test": {"/": "shop"}} if owns_wildcard else {"zzz.else": {"/": "shop"}}
    thief = ingress("web", rules, namespace="zzz", created=1, tls={"cert": named})
    victim = ingress("web", {"victim.test": {"/": "shop"}}, namespace="victim", created=0)
    secret = tls_secret("victim.test", "*.test", name="cert", namespace="zzz")

    graph = translate(Snapshot.of([ingress_class(), thief, victim, secret])).graph

    served = graph.certificate_for("victim.test")
    assert served is None or served.secret != ObjectKey("zzz", "cert")
