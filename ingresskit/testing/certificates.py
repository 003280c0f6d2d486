"""Real certificates for tests: self-signed, made without chance, so that goldens stay the same."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ingresskit.errors import ConfigurationError
from ingresskit.models import ObjectMeta, Secret
from ingresskit.testing.builders import EPOCH, moment

__all__ = ["SampleCertificate", "make_certificate", "tls_secret"]

_LONG = timedelta(days=36500)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCertificate:
    """A self-signed certificate and its key.

    Attributes:
        chain: PEM.
        private_key: PEM, PKCS #8, not encrypted.
        fingerprint: SHA-256 of the certificate as a TLS peer sees it (DER), lower-case hexadecimal.
    """

    chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    fingerprint: str


@functools.cache
def make_certificate(
    *hosts: str,
    salt: str = "",
    not_before: datetime = EPOCH,
    not_after: datetime = EPOCH + _LONG,
) -> SampleCertificate:
    """A self-signed certificate for these DNS names. The same arguments give the same bytes.

    Made once per process. Its key is derived from the arguments: it protects nothing.

    Args:
        hosts: The subject alternative names, in order; ``*.`` and a name is a wildcard.
        salt: Makes another certificate for the same names.
        not_before: When it becomes valid.
        not_after: When it expires.

    Raises:
        ConfigurationError: The extra ``tls`` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError as exc:
        raise ConfigurationError("certificates for tests need the extra ingresskit[tls]") from exc
    seed = hashlib.sha256(repr((hosts, salt, not_before, not_after)).encode()).digest()
    # Ed25519, because it signs without chance.
    key = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0][:64] if hosts else "nameless")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(seed[:8], "big") | 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, None)
    return SampleCertificate(
        chain=certificate.public_bytes(Encoding.PEM),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        fingerprint=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    )


def tls_secret(
    *hosts: str,
    name: str = "tls",
    namespace: str = "default",
    created: datetime | float | None = 0,
    salt: str = "",
    not_before: datetime | float = 0,
    not_after: datetime | float = 36500,
    key: bytes | None = None,
) -> Secret:
    """A ``kubernetes.io/tls`` Secret with a real self-signed certificate for *hosts*.

    Args:
        hosts: As for `make_certificate`.
        name: Its name.
        namespace: Its namespace.
        created: As for `ingresskit.testing.ingress`.
        salt: As for `make_certificate`.
        not_before: A time, or days after `EPOCH`.
        not_after: As *not_before*.
        key: Goes into ``tls.key`` in place of the key that fits.

    Raises:
        ConfigurationError: The extra ``tls`` is not installed.
    """
    made = make_certificate(
        *hosts, salt=salt, not_before=moment(not_before) or EPOCH, not_after=moment(not_after) or EPOCH
    )
    return Secret(
        metadata=ObjectMeta(name=name, namespace=namespace, creation_timestamp=moment(created)),
        type="kubernetes.io/tls",
        data={"tls.crt": made.chain, "tls.key": made.private_key if key is None else key},
    )
