"""TLS with clients: which certificates they must have, and with which ciphers they are spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Self

from typing_extensions import override

from ingresskit.models import Secret
from ingresskit.policies.authorities import Authorities, load_authorities
from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated, annotated_object
from ingresskit.policies.order import Stage
from ingresskit.policies.patterns import Pattern
from ingresskit.policies.tls_values import parse_ciphers
from ingresskit.policies.values import parse_boolean, parse_choice, parse_integer, parse_location

__all__ = ["CertificateMode", "ClientCertificates", "HostTls", "parse_common_name"]

_LONGEST_NAME = 200


class CertificateMode(StrEnum):
    """Whether a client must have a certificate."""

    REQUIRED = "required"
    """Of the CA; requests without one are refused."""
    OPTIONAL = "optional"
    """None, or one of the CA: one that does not verify is refused."""
    OPTIONAL_ANY = "optional-any"
    """None, or any: the endpoint is told whether it verified, and decides."""


def parse_common_name(text: str) -> str:
    """A pattern for the whole common name of a certificate, in the small language of `Pattern`."""
    stripped = text.strip()
    if not stripped or len(stripped) > _LONGEST_NAME:
        raise ValueError(f"must be a pattern for a common name, of {_LONGEST_NAME} characters at most")
    _whole(stripped)
    return stripped


@lru_cache(maxsize=1024)
def _whole(text: str) -> Pattern:
    ignores_case = text.startswith("(?i)")
    inner = text.removeprefix("(?i)").removeprefix("^")
    return Pattern(f"{'(?i)' if ignores_case else ''}(?:{inner})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificates(Policy):
    """Clients of the host must show a certificate in the TLS handshake.

    It holds for all routes of the host, of other Ingresses too. The server name of the handshake and the
    ``Host`` of the request must belong to the same rule host, else the response is 421; requests without TLS
    are redirected to it or refused. A request without a certificate that it needs gets 400, one whose name
    does not match gets 403.

    The endpoint gets ``ssl-client-verify`` (``SUCCESS``, ``NONE`` or ``FAILED:`` and why),
    ``ssl-client-subject-dn`` and ``ssl-client-issuer-dn`` (RFC 2253). Clients cannot set them.

    Attributes:
        authorities: Whose certificates count, and which of them are revoked.
        mode: Whether one must be shown.
        depth: How many certificates may stand between that of the client and that of the CA.
        common_name: A pattern for the whole common name of the client; empty: any.
        error_page: Where clients without a valid certificate are sent, with 302; empty: they get 400.
        forwarded: Whether the endpoint gets the certificate too: ``ssl-client-cert``, PEM, escaped as in URLs.
    """

    protects: ClassVar[bool] = True
    scope: ClassVar[PolicyScope] = PolicyScope.HOST
    stage: ClassVar[Stage] = Stage.CERTIFICATE
    handshake: ClassVar[bool] = True

    authorities: Authorities = annotated_object(
        "client-ca-secret",
        Secret,
        load_authorities,
        default=Authorities(),
        grammar="the name of a Secret with `ca.crt`, and maybe `ca.crl`",
        summary="Clients must show certificates of the CA in this Secret.",
    )
    mode: CertificateMode = annotated(
        "client-certificate",
        parse_choice(CertificateMode),
        default=CertificateMode.REQUIRED,
        grammar="`required`, `optional` or `optional-any`",
        summary="Whether clients must have a certificate. With `optional-any` the endpoint judges it.",
    )
    depth: int = annotated(
        "client-certificate-depth",
        parse_integer(0, 10),
        default=1,
        grammar="a whole number, 0 to 10",
        summary="How many certificates may stand between that of the client and that of the CA.",
    )
    common_name: str = annotated(
        "client-certificate-name",
        parse_common_name,
        default="",
        grammar="a pattern for the whole common name: `[a-z]+[.]staff`",
        summary="Which common name clients must have; others get 403.",
    )
    error_page: str = annotated(
        "client-certificate-error-page",
        parse_location,
        default="",
        grammar="an http or https URL, or a path",
        summary="Where clients without a valid certificate are sent, with 302.",
        risk=Risk.HIGH,
    )
    forwarded: bool = annotated(
        "client-certificate-header",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Send the certificate to the endpoint too, in `ssl-client-cert`.",
    )

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no CA.
        """
        made = super(ClientCertificates, cls).build(values)
        if not made.authorities.certificates:
            raise ValueError("needs client-ca-secret too")
        return made

    @property
    def name_pattern(self) -> Pattern | None:
        """The pattern of *common_name*, for the whole of it; ``None``: any name will do."""
        return _whole(self.common_name) if self.common_name else None

    def verifies_as(self, other: ClientCertificates) -> bool:
        """Whether a handshake that was made for *other* is worth as much as one for this."""
        return (self.authorities, self.mode, self.depth) == (other.authorities, other.mode, other.depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTls(Policy):
    """How clients of the host are spoken to in TLS.

    Attributes:
        ciphers: Those of TLS 1.2 in OpenSSL's names, the preferred first; empty: the proxy's own.
        server_order: Whether the order of the proxy counts, not that of the client; ``None``: as the proxy
            has it.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.HOST
    stage: ClassVar[Stage] = Stage.CERTIFICATE
    handshake: ClassVar[bool] = True

    ciphers: tuple[str, ...] = annotated(
        "tls-ciphers",
        parse_ciphers,
        default=(),
        grammar="OpenSSL's names of ciphers separated by colons: `ECDHE-RSA-AES128-GCM-SHA256`",
        summary="The ciphers of TLS 1.2 for clients of the host.",
    )
    server_order: bool | None = annotated(
        "tls-prefer-server-ciphers",
        parse_boolean,
        default=None,
        grammar="`true` or `false`",
        summary="Whether the order of the proxy's ciphers counts, not that of the client's.",
    )
