"""TLS with endpoints: who they must be, and who they are shown that asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from typing_extensions import override

from ingresskit.models import ConfigMap, Secret
from ingresskit.policies.authorities import (
    Authorities,
    TlsIdentity,
    load_authorities,
    load_authorities_of_config_map,
    load_identity,
)
from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated, annotated_object
from ingresskit.policies.order import Stage
from ingresskit.policies.tls_values import TlsVersion, parse_ciphers, parse_server_name, parse_tls_versions
from ingresskit.policies.values import parse_boolean, parse_integer

__all__ = ["UpstreamTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls(Policy):
    """How endpoints are spoken to in TLS. Only where they speak it: see `UpstreamProtocol`.

    Endpoints that must be verified and do not speak TLS get no requests.

    Attributes:
        verify: Whether the certificates of endpoints are verified; ``None``: where there is a CA.
        authorities: The CA that must have signed them, from a Secret.
        bundle: The same from a ConfigMap; both together count.
        identity: The certificate that is shown to endpoints which ask for one; ``None``: none.
        name: The name that their certificates must have; empty: that of the Service, ``web.shop.svc``.
        send_name: Whether they are sent a server name (SNI): *name*, or without one the host of the request.
            The name that is verified is always sent.
        depth: How many certificates may stand between that of an endpoint and that of the CA.
        ciphers: Those of TLS 1.2 in OpenSSL's names; empty: those of the proxy.
        versions: The versions that are spoken; empty: from 1.2 on.
    """

    protects: ClassVar[bool] = True
    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND
    stage: ClassVar[Stage] = Stage.UPSTREAM

    verify: bool | None = annotated(
        "upstream-tls-verify",
        parse_boolean,
        default=None,
        grammar="`true` or `false`",
        summary="Whether the certificates of endpoints are verified. Without it: where there is a CA.",
    )
    authorities: Authorities = annotated_object(
        "upstream-tls-ca-secret",
        Secret,
        load_authorities,
        default=Authorities(),
        grammar="the name of a Secret with `ca.crt`, and maybe `ca.crl`",
        summary="The CA that must have signed the certificates of endpoints.",
    )
    bundle: Authorities = annotated_object(
        "upstream-tls-ca-config-map",
        ConfigMap,
        load_authorities_of_config_map,
        default=Authorities(),
        grammar="the name of a ConfigMap with `ca.crt`, and maybe `ca.crl`",
        summary="The same from a ConfigMap.",
    )
    identity: TlsIdentity | None = annotated_object(
        "upstream-tls-client-secret",
        Secret,
        load_identity,
        default=None,
        grammar="the name of a Secret with `tls.crt` and `tls.key`",
        summary="The certificate that is shown to endpoints.",
    )
    name: str = annotated(
        "upstream-tls-name",
        parse_server_name,
        default="",
        grammar="a DNS name",
        summary="The name that the certificates of endpoints must have. Without it: that of the Service.",
        risk=Risk.HIGH,
    )
    send_name: bool = annotated(
        "upstream-tls-send-name",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether endpoints are sent a server name; one that is verified always is.",
    )
    depth: int = annotated(
        "upstream-tls-depth",
        parse_integer(0, 10),
        default=1,
        grammar="a whole number, 0 to 10",
        summary="How many certificates may stand between that of an endpoint and that of the CA.",
    )
    ciphers: tuple[str, ...] = annotated(
        "upstream-tls-ciphers",
        parse_ciphers,
        default=(),
        grammar="OpenSSL's names of ciphers separated by colons: `ECDHE-RSA-AES128-GCM-SHA256`",
        summary="The ciphers of TLS 1.2 for endpoints.",
    )
    versions: tuple[TlsVersion, ...] = annotated(
        "upstream-tls-versions",
        parse_tls_versions,
        default=(),
        grammar="`1.2`, `1.3` or both",
        summary="The versions of TLS that endpoints are spoken to in.",
    )

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: Certificates are to be verified, and there is no CA.
        """
        made = super(UpstreamTls, cls).build(values)
        if made.verify and not made.trusted:
            raise ValueError("needs upstream-tls-ca-secret or upstream-tls-ca-config-map too")
        return made

    @property
    def trusted(self) -> Authorities:
        """All authorities; false where there are none."""
        if not self.bundle:
            return self.authorities
        if not self.authorities:
            return self.bundle
        return Authorities(
            certificates=self.authorities.certificates + self.bundle.certificates,
            revoked=self.authorities.revoked + self.bundle.revoked,
        )

    @property
    def verifies(self) -> bool:
        """Whether the certificates of endpoints are verified."""
        return bool(self.trusted) if self.verify is None else self.verify

    def name_for(self, service: str, namespace: str) -> str:
        """The name that is verified, or sent to every endpoint; empty: the host of the request is sent.

        Args:
            service: The Service of the endpoints.
            namespace: Its namespace.
        """
        return self.name or (f"{service}.{namespace}.svc" if self.verifies else "")
