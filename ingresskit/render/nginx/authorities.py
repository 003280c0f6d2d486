"""What a server asks clients of in the TLS handshake, and the files that it names for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ingresskit.policies import CertificateMode, ClientCertificates, HostTls, PolicySet
from ingresskit.render.nginx.artifact import ConfigFile
from ingresskit.render.nginx.tree import Directive

__all__ = ["authority_files", "handshake_directives"]

_MODES: Final = {
    CertificateMode.REQUIRED: "on",
    CertificateMode.OPTIONAL: "optional",
    CertificateMode.OPTIONAL_ANY: "optional_no_ca",
}


def authority_files(policies: PolicySet) -> Iterator[ConfigFile]:
    """The files that `handshake_directives` name."""
    if (clients := policies.get(ClientCertificates)) is None:
        return
    authorities = clients.authorities
    yield ConfigFile(path=_file(clients), content=authorities.certificates)
    if authorities.revoked:
        yield ConfigFile(path=_revoked(clients), content=authorities.revoked)


def handshake_directives(policies: PolicySet) -> Iterator[Directive]:
    """Directives of the server of a host with these policies of the handshake."""
    if (tls := policies.get(HostTls)) is not None:
        if tls.ciphers:
            yield Directive("ssl_ciphers", (":".join(tls.ciphers),))
        if tls.server_order is not None:
            yield Directive("ssl_prefer_server_ciphers", ("on" if tls.server_order else "off",))
    if (clients := policies.get(ClientCertificates)) is None:
        return
    yield Directive("ssl_client_certificate", (_file(clients),))
    if clients.authorities.revoked:
        yield Directive("ssl_crl", (_revoked(clients),))
    yield Directive("ssl_verify_client", (_MODES[clients.mode],))
    yield Directive("ssl_verify_depth", (str(clients.depth),))


def _file(clients: ClientCertificates) -> str:
    return f"authorities/{clients.authorities.digest[:24]}.pem"


def _revoked(clients: ClientCertificates) -> str:
    return f"authorities/{clients.authorities.digest[:24]}.crl.pem"
