"""Client certificates and ciphers: nginx asks and verifies in the handshake; this is for the endpoint."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.policies import ClientCertificates, HostTls, Policy
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.static.forwarding import REQUEST_FIELDS
from ingresskit.render.nginx.tree import Value, Variable
from ingresskit.render.policies import PolicyHandler

__all__ = ["DYNAMIC", "STATIC", "StaticClientCertificates", "StaticHostTls"]

_OURS: Final = {
    "ssl-client-verify": "ssl_client_verify",
    "ssl-client-subject-dn": "ssl_client_s_dn",
    "ssl-client-issuer-dn": "ssl_client_i_dn",
}


class StaticClientCertificates(PolicyHandler[ClientCertificates, StaticDraft]):
    """The header fields for the endpoint; all else stands in the server of the host."""

    policy: type[Policy] = ClientCertificates

    @override
    def contribute(self, policy: ClientCertificates, draft: StaticDraft) -> None:
        for lower, (name, _) in REQUEST_FIELDS.items():
            if "client-cert" in lower or lower.startswith(("ssl-client-", "x-ssl-client-")):
                # Of certificates only what this nginx saw itself counts.
                draft.request[lower] = (name, "")
        for name, variable in _OURS.items():
            draft.request[name] = (name, Value(Variable(variable)))
        if policy.forwarded:
            draft.request["ssl-client-cert"] = ("ssl-client-cert", Value(Variable("ssl_client_escaped_cert")))


class StaticHostTls(PolicyHandler[HostTls, StaticDraft]):
    """``ssl_ciphers`` and its like, in the server of the host."""

    policy: type[Policy] = HostTls


STATIC: Final = (StaticClientCertificates(), StaticHostTls())
DYNAMIC: Final[tuple[PolicyHandler[ClientCertificates, DynamicDraft], ...]] = ()
