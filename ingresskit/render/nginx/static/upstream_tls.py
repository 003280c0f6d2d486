"""TLS with endpoints: what a location says of it, and the files that it names for that.

The policy is one of the backend, and nginx has directives of the location. So requests of a location may be
shared out among backends that are verified by other names, but not in any other way than one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey
from ingresskit.policies import TlsIdentity, TlsVersion, UpstreamTls
from ingresskit.render.nginx.artifact import ConfigFile
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import Argument, Directive

__all__ = ["identity_certificates", "tls_directives", "tls_files"]

_VERSIONS: Final = {TlsVersion.V1_2: "TLSv1.2", TlsVersion.V1_3: "TLSv1.3"}
_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)


def tls_directives(policy: UpstreamTls, name: Argument | None, settings: NginxSettings) -> Iterator[Directive]:
    """Directives of a location whose requests go to endpoints that are spoken to as *policy* has it.

    Args:
        policy: Of the backends.
        name: The name that is sent and verified, where that is not the one of the request.
        settings: Of the nginx.
    """
    if name is not None:
        yield Directive("proxy_ssl_name", (name,))
    if not policy.send_name and not policy.verifies:
        yield Directive("proxy_ssl_server_name", ("off",))
    if policy.versions:
        yield Directive("proxy_ssl_protocols", tuple(_VERSIONS[item] for item in policy.versions))
    if policy.ciphers:
        yield Directive("proxy_ssl_ciphers", (":".join(policy.ciphers),))
    if policy.identity is not None:
        path = f"{settings.certificate_directory}/{_identity(policy.identity)}/tls.pem"
        yield Directive("proxy_ssl_certificate", (path,))
        yield Directive("proxy_ssl_certificate_key", (path,))
    if policy.verifies:
        yield Directive("proxy_ssl_verify", ("on",))
        yield Directive("proxy_ssl_verify_depth", (str(policy.depth),))
        yield Directive("proxy_ssl_trusted_certificate", (_authorities(policy),))
        if policy.trusted.revoked:
            yield Directive("proxy_ssl_crl", (_revoked(policy),))


def tls_files(policy: UpstreamTls) -> Iterator[ConfigFile]:
    """The files that `tls_directives` name, but for that of the identity."""
    if policy.verifies:
        trusted = policy.trusted
        yield ConfigFile(path=_authorities(policy), content=trusted.certificates)
        if trusted.revoked:
            yield ConfigFile(path=_revoked(policy), content=trusted.revoked)


def identity_certificates(policies: Iterable[UpstreamTls]) -> Iterator[tuple[str, Certificate]]:
    """The identities in *policies* as `NginxArtifact.certificates` has them."""
    for policy in policies:
        if (identity := policy.identity) is not None:
            made = Certificate(
                secret=ObjectKey("", ""),
                chain=identity.chain,
                private_key=identity.private_key,
                digest=identity.digest,
                names=(),
                not_before=_UNKNOWN,
                not_after=_UNKNOWN,
            )
            yield _identity(identity), made


def _identity(identity: TlsIdentity) -> str:
    return f"shown-{identity.digest[:24]}"


def _authorities(policy: UpstreamTls) -> str:
    return f"authorities/{policy.trusted.digest[:24]}.pem"


def _revoked(policy: UpstreamTls) -> str:
    return f"authorities/{policy.trusted.digest[:24]}.crl.pem"
