"""What Python's TLS cannot do of the policies that act in the handshake with clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import CertificateMode, ClientCertificates, HostTls
from ingresskit.render.policies import Loss, PolicyHandler

__all__ = ["CERTIFICATE_LOSSES"]

_ANY: Final = Loss(
    field="mode",
    message="ends the handshake of a client whose certificate the CA did not sign",
    closes=False,
    effect="the endpoint hears of no such certificate",
)
_PAGE: Final = Loss(
    field="error_page",
    message="ends the handshake of a client whose certificate does not verify",
    closes=False,
    effect="only clients without a certificate get to the page",
)
_ORDER: Final = Loss(field="server_order", message="always goes by its own order of ciphers")


class _ClientCertificates(PolicyHandler[ClientCertificates, object]):
    policy = ClientCertificates
    limitations = (_ANY, _PAGE)

    @override
    def losses(self, policy: ClientCertificates) -> Iterator[Loss]:
        if policy.mode is CertificateMode.OPTIONAL_ANY:
            yield _ANY
        if policy.error_page:
            yield _PAGE


class _HostTls(PolicyHandler[HostTls, object]):
    policy = HostTls
    limitations = (_ORDER,)

    @override
    def losses(self, policy: HostTls) -> Iterator[Loss]:
        if policy.server_order is False:
            yield _ORDER


CERTIFICATE_LOSSES: Final = (_ClientCertificates(), _HostTls())
