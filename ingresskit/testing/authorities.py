"""A certification authority for tests: certificates of clients and endpoints, and what it revoked."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ingresskit.errors import ConfigurationError
from ingresskit.models import ObjectMeta, Secret
from ingresskit.testing.builders import EPOCH
from ingresskit.testing.certificates import SampleCertificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, Name

__all__ = ["SampleAuthority", "ca_secret", "make_authority"]

_LONG = timedelta(days=36500)
# The order of P-256, less one: keys are derived from names, so that each run makes the same ones.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - 1


@dataclass(frozen=True, eq=False)
class SampleAuthority:
    """An authority, self-signed or under another one. Its keys are derived from names: they protect nothing.

    Attributes:
        name: Its common name.
        parent: Who signed it; ``None``: it did itself.
        certificate: Its own, PEM.
    """

    name: str
    parent: SampleAuthority | None = None
    certificate: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "certificate", _pem(self._own))

    def issue(self, common_name: str, *hosts: str, organization: str = "", salt: str = "") -> SampleCertificate:
        """A certificate with that common name, for these DNS names. The chain holds the intermediate ones.

        Raises:
            ConfigurationError: The extra ``tls`` is not installed.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        subject = _name(common_name, organization)
        key = _key(f"leaf {self.name} {common_name} {hosts} {salt}")
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]) if hosts else None
        leaf = _certificate(subject, self._own.subject, key, self._key, ca=False, names=names)
        above: list[bytes] = []
        authority = self
        while authority.parent is not None:
            above.append(authority.certificate)
            authority = authority.parent
        return SampleCertificate(
            chain=_pem(leaf) + b"".join(above),
            private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            fingerprint=hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
        )

    def revoke(self, *certificates: SampleCertificate) -> bytes:
        """A revocation list of this authority in PEM that names *certificates*."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._own.subject)
            .last_update(EPOCH)
            .next_update(EPOCH + _LONG)
        )
        for item in certificates:
            serial = x509.load_pem_x509_certificate(item.chain).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(EPOCH).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @functools.cached_property
    def _key(self) -> EllipticCurvePrivateKey:
        return _key(f"authority {self.name} {'' if self.parent is None else self.parent.name}")

    @functools.cached_property
    def _own(self) -> Certificate:
        subject = _name(self.name)
        if self.parent is None:
            return _certificate(subject, subject, self._key, self._key, ca=True)
        parent = self.parent
        return _certificate(subject, parent._own.subject, self._key, parent._key, ca=True)  # noqa: SLF001 - one class


@functools.cache
def make_authority(name: str = "Test CA", parent: SampleAuthority | None = None) -> SampleAuthority:
    """An authority with that common name, made once per process.

    Raises:
        ConfigurationError: The extra ``tls`` is not installed.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigurationError("certificates for tests need the extra ingresskit[tls]")
    return SampleAuthority(name, parent)


def ca_secret(
    *authorities: SampleAuthority,
    name: str = "ca",
    namespace: str = "default",
    revoked: bytes = b"",
    client: SampleCertificate | None = None,
) -> Secret:
    """A Secret with the certificates of *authorities* under ``ca.crt``.

    Args:
        authorities: Whose.
        name: Its name.
        namespace: Its namespace.
        revoked: Goes into ``ca.crl``; empty: there is none.
        client: Goes into ``tls.crt`` and ``tls.key``.
    """
    data = {"ca.crt": b"".join(item.certificate for item in authorities)}
    if revoked:
        data["ca.crl"] = revoked
    if client is not None:
        data |= {"tls.crt": client.chain, "tls.key": client.private_key}
    return Secret(metadata=ObjectMeta(name=name, namespace=namespace, creation_timestamp=EPOCH), data=data)


def _key(seed: str) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()) % _ORDER + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def _name(common_name: str, organization: str = "") -> Name:
    from cryptography import x509

    parts = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: Name,
    issuer: Name,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    *,
    ca: bool,
    names: object = None,
) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    serial = int.from_bytes(
        hashlib.sha256(f"{subject} {issuer} {key.private_numbers().private_value}".encode()).digest()[:8]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial | 1)
        .not_valid_before(EPOCH)
        .not_valid_after(EPOCH + _LONG)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if isinstance(names, x509.SubjectAlternativeName):
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
