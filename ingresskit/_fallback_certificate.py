"""The certificate for clients that ask for a server name without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

__all__ = ["FALLBACK_NAME", "FallbackCertificate", "make_fallback_certificate"]

FALLBACK_NAME: Final = "ingresskit default certificate"
"""Its common name."""
_LIFETIME: Final = timedelta(days=397)  # the longest that browsers accept


class FallbackCertificate(NamedTuple):
    """A certificate and its key, both in PEM."""

    chain: bytes
    private_key: bytes


def make_fallback_certificate() -> FallbackCertificate:
    """A new self-signed certificate for a name that no client can ask for, and its key.

    Raises:
        ImportError: The extra ``tls`` is not installed.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FALLBACK_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ingresskit.invalid")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return FallbackCertificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
