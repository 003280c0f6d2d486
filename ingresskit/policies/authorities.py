"""Certification authorities and identities that a Secret or ConfigMap holds, read whole or refused."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from ingresskit.models import ConfigMap, Secret

__all__ = [
    "Authorities",
    "TlsIdentity",
    "load_authorities",
    "load_authorities_of_config_map",
    "load_identity",
    "read_authorities",
]

# What each handshake may cost: a bundle with all public CAs has some 150 in 220 KiB.
_MOST_BYTES = 512 * 1024
_MOST_CERTIFICATES = 300
_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----[^-]*-----END [A-Z0-9 ]+-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Certificates of authorities, and what they revoked. False without certificates.

    Attributes:
        certificates: PEM, each block written anew, nothing between them.
        revoked: Certificate revocation lists in PEM, the same; empty: none, and nothing is looked up.
        digest: SHA-256 over both, lower-case hexadecimal.
    """

    certificates: bytes = field(default=b"", repr=False)
    revoked: bytes = field(default=b"", repr=False)
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        total = hashlib.sha256(len(self.certificates).to_bytes(8, "big") + self.certificates + self.revoked)
        object.__setattr__(self, "digest", total.hexdigest())

    def __bool__(self) -> bool:
        return bool(self.certificates)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """A certificate chain and its key. Neither appears in a ``repr``.

    Attributes:
        chain: PEM, leaf first, each block written anew.
        private_key: PEM, PKCS #8, not encrypted, fits the leaf.
        digest: SHA-256 over both, lower-case hexadecimal.
    """

    chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        total = hashlib.sha256(len(self.chain).to_bytes(8, "big") + self.chain + self.private_key)
        object.__setattr__(self, "digest", total.hexdigest())


def load_identity(secret: Secret) -> TlsIdentity:
    """What *secret* holds under ``tls.crt`` and ``tls.key``. Needs the extra ``tls``.

    Raises:
        ValueError: They are missing, unreadable, or do not fit each other. The text is the rule.
    """
    chain, private_key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
    if not chain.strip() or not private_key.strip():
        raise ValueError("must name one that holds a certificate under tls.crt and its key under tls.key")
    if len(chain) + len(private_key) > _MOST_BYTES:
        raise ValueError(f"must name one with at most {_MOST_BYTES} bytes under tls.crt and tls.key")
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
            load_pem_private_key,
        )
    except ImportError:
        raise ValueError("must wait until the extra ingresskit[tls] is installed, which reads it") from None
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        key = load_pem_private_key(private_key, password=None)
        form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        fits = certificates[0].public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
        pem = b"".join(item.public_bytes(Encoding.PEM) for item in certificates)
        written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except Exception:  # noqa: BLE001 - whatever a parser says of a tenant's bytes is that object's fault
        raise ValueError("must name one that holds PEM under tls.crt and tls.key, without a password") from None
    if not fits:
        raise ValueError("must name one whose tls.key fits its tls.crt")
    return TlsIdentity(chain=pem, private_key=written)


def load_authorities(secret: Secret) -> Authorities:
    """What *secret* holds under ``ca.crt`` and ``ca.crl``.

    Raises:
        ValueError: It holds no CA, or something else under one of them. The text is the rule.
    """
    return read_authorities(secret.data.get("ca.crt", b""), secret.data.get("ca.crl", b""))


def load_authorities_of_config_map(found: ConfigMap) -> Authorities:
    """What *found* holds under ``ca.crt`` and ``ca.crl``.

    Raises:
        ValueError: As `load_authorities`.
    """
    return read_authorities(found.data.get("ca.crt", "").encode(), found.data.get("ca.crl", "").encode())


def read_authorities(certificates: bytes, revoked: bytes = b"") -> Authorities:
    """The authorities in PEM text.

    Needs the extra ``tls``.

    Raises:
        ValueError: One of them is not PEM of its kind, or too long. The text is the rule.
    """
    if not certificates.strip():
        raise ValueError("must name one that holds certificates of a CA under ca.crt")
    if len(certificates) > _MOST_BYTES or len(revoked) > _MOST_BYTES:
        raise ValueError(f"must name one with at most {_MOST_BYTES} bytes under ca.crt and ca.crl")
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding
    except ImportError:
        raise ValueError("must wait until the extra ingresskit[tls] is installed, which reads it") from None
    try:
        found = x509.load_pem_x509_certificates(certificates)
        pem = b"".join(item.public_bytes(Encoding.PEM) for item in found)
    except Exception:  # noqa: BLE001 - whatever a parser says of a tenant's bytes is that object's fault
        raise ValueError("must name one that holds PEM certificates under ca.crt") from None
    if len(found) > _MOST_CERTIFICATES:
        raise ValueError(f"must name one with at most {_MOST_CERTIFICATES} certificates under ca.crt")
    if not revoked.strip():
        return Authorities(certificates=pem)
    try:
        lists = [x509.load_pem_x509_crl(block + b"\n") for block in _BLOCK.findall(revoked)]
        crls = b"".join(item.public_bytes(Encoding.PEM) for item in lists)
    except Exception:  # noqa: BLE001 - as above
        lists, crls = [], b""
    if not lists:
        raise ValueError("must name one that holds PEM revocation lists under ca.crl, or nothing there")
    return Authorities(certificates=pem, revoked=crls)
