"""Client certificates: whether the handshake of a request is worth what its host asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import quote

from ingresskit.filters.base import ClientCertificate, Handshake, Memory, Reply, RequestView
from ingresskit.filters.edits import HeaderEdit
from ingresskit.policies import CertificateMode, ClientCertificates, Stage

__all__ = ["CERTIFICATE_FIELDS", "CertificateFilter", "read_certificate"]

CERTIFICATE_FIELDS: Final = (
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "ssl-client-issuer-dn",
)
"""The request header fields that endpoints learn of certificates by."""

_DROPPED: Final = frozenset(name.encode("ascii") for name in CERTIFICATE_FIELDS)
_NOT_SHOWN: Final = re.compile(rb"[^\x20-\x7e]")
# As OpenSSL calls them; others have their number.
_SHORT_NAMES: Final = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.46": "dnQualifier",
}


@dataclass(frozen=True, slots=True)
class CertificateFilter:
    """Lets requests pass whose handshake showed what the host asks for, and tells the endpoint what it showed.

    Attributes:
        rule_host: The host that asks.
        policy: What it asks for.
        redirects: Plain requests get a redirect to TLS, which is not this filter's.
    """

    stage: ClassVar[Stage] = Stage.CERTIFICATE

    rule_host: str
    policy: ClientCertificates
    redirects: bool = False

    def request(self, request: RequestView, memory: Memory) -> Reply | HeaderEdit | None:
        """As `Filter.request`."""
        policy, handshake = self.policy, request.handshake
        if handshake is None:
            # Also where a trusted proxy says that its client used TLS: who that was cannot be verified.
            leaves = self.redirects and not request.https and request.secure_location is not None
            return None if leaves else Reply(status=403)
        if handshake.rule_host != self.rule_host or not (
            handshake.asked is not None and handshake.asked.verifies_as(policy)
        ):
            # Another host's handshake: the client makes one for this host, and asks again.
            return Reply(status=421)
        return self._judged(handshake)

    def _judged(self, handshake: Handshake) -> Reply | HeaderEdit:
        policy, certificate = self.policy, handshake.certificate
        if certificate is None:
            if policy.mode is CertificateMode.REQUIRED:
                return self._refusal()
            if policy.name_pattern is not None:
                return Reply(status=403)
            return _edit("NONE")
        if certificate.depth > policy.depth:
            return self._refusal()
        if (pattern := policy.name_pattern) is not None and not pattern.matches(certificate.common_name):
            return Reply(status=403)
        return _edit("SUCCESS", certificate, forwarded=policy.forwarded)

    def _refusal(self) -> Reply:
        if self.policy.error_page:
            return Reply(status=302, location=self.policy.error_page)
        return Reply(status=400)


def _edit(
    verified: str, certificate: ClientCertificate | None = None, *, forwarded: bool = False
) -> HeaderEdit:
    fields = [(b"ssl-client-verify", verified.encode("ascii"))]
    if certificate is not None:
        fields.append((b"ssl-client-subject-dn", certificate.subject.encode("ascii")))
        fields.append((b"ssl-client-issuer-dn", certificate.issuer.encode("ascii")))
        if forwarded:
            fields.append((b"ssl-client-cert", certificate.escaped.encode("ascii")))
    return HeaderEdit(drop=_DROPPED, fields=tuple(fields))


def read_certificate(der: bytes, *, depth: int = 0) -> ClientCertificate:
    """What a certificate says of its client. Needs the extra ``tls``, as TLS itself does.

    Args:
        der: As the client showed it.
        depth: How many certificates stand between it and that of the CA.

    Raises:
        ValueError: It cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found = x509.load_der_x509_certificate(der)
    names = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    # The last one is the most specific.
    common = names[-1].value if names else ""
    return ClientCertificate(
        subject=_distinguished_name(found.subject),
        issuer=_distinguished_name(found.issuer),
        common_name=common if isinstance(common, str) else "",
        escaped=quote(found.public_bytes(Encoding.PEM).decode("ascii"), safe=""),
        depth=depth,
    )


def _distinguished_name(name: object) -> str:
    """RFC 2253 as OpenSSL writes it: what is not printable ASCII is escaped octet by octet."""
    from cryptography import x509

    assert isinstance(name, x509.Name)  # noqa: S101 - for type checkers: the module is not imported up there
    overrides = {x509.ObjectIdentifier(number): short for number, short in _SHORT_NAMES.items()}
    text = name.rfc4514_string(overrides).encode()
    return _NOT_SHOWN.sub(lambda found: b"\\%02X" % found[0][0], text).decode("ascii")
