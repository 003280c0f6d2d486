"""From a Secret to a certificate that can be served, or the reason why it cannot."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey, Secret

__all__ = ["CertificateTable", "ParsedCertificate", "covers", "read_certificate"]

# What one handshake may cost everybody else: the chain is sent in each (OpenSSL's clients take 100 KiB),
# and a signature with 8,192 bits takes ten times as long as one with 4,096.
_MAX_CHAIN_BYTES = 100 * 1024
_MAX_KEY_BYTES = 16 * 1024
_MAX_RSA_BITS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCertificate:
    """What a Secret holds.

    Attributes:
        certificate: What can be served; with a *fault* it is the last good one, if there was one.
        fault: What is wrong with the Secret as it is now, as a clause; empty when nothing is.
    """

    certificate: Certificate | None = None
    fault: str = ""


class CertificateTable:
    """Reads each Secret once for as long as it does not change.

    Args:
        retain: Serve the last good certificate of a Secret whose new content is no good, for as long
            as the Secret exists. What is served then depends on what was served before.
    """

    def __init__(self, *, retain: bool) -> None:
        self._retain = retain
        self._secrets: Mapping[ObjectKey, Secret] = {}
        self._read: dict[ObjectKey, tuple[Secret, ParsedCertificate]] = {}

    def advance(self, secrets: Mapping[ObjectKey, Secret], changed: Iterable[ObjectKey]) -> None:
        """Look at these Secrets from now on, of which *changed* differ; forget those that are gone."""
        self._secrets = secrets
        for key in changed:
            if key not in secrets:
                self._read.pop(key, None)

    def get(self, key: ObjectKey) -> ParsedCertificate | None:
        """What the Secret holds; ``None`` when there is no such Secret."""
        secret = self._secrets.get(key)
        if secret is None:
            return None
        before = self._read.get(key)
        if before is not None and before[0] is secret:
            return before[1]
        parsed = read_certificate(secret)
        if parsed.certificate is None and before is not None and self._retain:
            parsed = ParsedCertificate(certificate=before[1].certificate, fault=parsed.fault)
        self._read[key] = (secret, parsed)
        return parsed


def read_certificate(secret: Secret) -> ParsedCertificate:
    """What *secret* holds under ``tls.crt`` and ``tls.key``.

    Needs the extra ``tls``; without it every Secret is at fault and says so.

    Source: Kubernetes documentation, "TLS Secrets"; names by RFC 9525, section 6 (DNS names of the
    subject alternative name extension; the common name counts for nothing).
    """
    chain, private_key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
    for name, value in (("tls.crt", chain), ("tls.key", private_key)):
        if not value.strip():
            return ParsedCertificate(fault=f"has no {name}")
    for name, value, most in (("tls.crt", chain, _MAX_CHAIN_BYTES), ("tls.key", private_key, _MAX_KEY_BYTES)):
        if len(value) > most:
            return ParsedCertificate(
                fault=f"has a {name} of {len(value)} bytes; {most} are the most that is served"
            )
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            PublicFormat,
            load_pem_private_key,
        )
    except ImportError:
        return ParsedCertificate(fault="cannot be read: the extra ingresskit[tls] is not installed")
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        leaf = certificates[0]
        not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        public_key = leaf.public_key()
        public = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        try:
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
        except x509.ExtensionNotFound:
            names = set[str]()
    except Exception:  # noqa: BLE001 - whatever a parser says of a tenant's bytes is that Secret's fault
        return ParsedCertificate(fault="has a tls.crt that is not a chain of PEM certificates")
    if isinstance(public_key, RSAPublicKey) and public_key.key_size > _MAX_RSA_BITS:
        return ParsedCertificate(
            fault=f"has an RSA key of {public_key.key_size} bits; {_MAX_RSA_BITS} are the most that is served"
        )
    try:
        key = load_pem_private_key(private_key, password=None)
        own = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except TypeError:
        return ParsedCertificate(fault="has a tls.key that is encrypted")
    except Exception:  # noqa: BLE001 - as above
        return ParsedCertificate(fault="has a tls.key that is not a PEM private key")
    if own != public:
        return ParsedCertificate(fault="has a tls.key that does not fit its tls.crt")
    digest = hashlib.sha256(len(chain).to_bytes(8, "big") + chain + private_key).hexdigest()
    return ParsedCertificate(
        certificate=Certificate(
            secret=secret.key,
            chain=chain,
            private_key=private_key,
            digest=digest,
            names=tuple(sorted(names)),
            not_before=not_before,
            not_after=not_after,
        )
    )


def covers(certificate: Certificate, host: str) -> bool:
    """Whether a certificate is for a rule host.

    A wildcard name covers exactly one label, and the wildcard host itself.
    Source: RFC 9525, section 6.3.
    """
    if _has(certificate.names, host):
        return True
    _, dot, parent = host.partition(".")
    return bool(dot) and not host.startswith("*.") and _has(certificate.names, f"*.{parent}")


def _has(names: Sequence[str], name: str) -> bool:
    """Whether *name* is among the sorted *names*: a certificate may have ten thousand, and an Ingress too."""
    place = bisect_left(names, name)
    return place < len(names) and names[place] == name
