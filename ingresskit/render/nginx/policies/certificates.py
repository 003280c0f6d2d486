"""Client certificates and ciphers: nginx asks and verifies in the handshake; this is for the endpoint."""

from __future__ import annotations

import hashlib
from typing import Final

from typing_extensions import override

from ingresskit.policies import ClientCertificates, HostTls, Policy, Stage
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.static.forwarding import REQUEST_FIELDS
from ingresskit.render.nginx.tree import Value, Variable
from ingresskit.render.policies import PolicyHandler

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicClientCertificates",
    "DynamicHostTls",
    "StaticClientCertificates",
    "StaticHostTls",
    "add_dynamic_certificate",
    "asked_id",
]

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


class DynamicClientCertificates(PolicyHandler[ClientCertificates, DynamicDraft]):
    """The guard and the edit ``certificate``; see `add_dynamic_certificate`."""

    policy: type[Policy] = ClientCertificates


class DynamicHostTls(PolicyHandler[HostTls, DynamicDraft]):
    """``ssl_ciphers`` and its like, in a server of the host."""

    policy: type[Policy] = HostTls


def asked_id(host: str, policy: ClientCertificates) -> str:
    """What tells the server of *host* that asks for *policy* from all others: 24 hexadecimal digits."""
    parts = (host, policy.authorities.digest, policy.mode, str(policy.depth), policy.error_page)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def add_dynamic_certificate(
    draft: DynamicDraft, host: str, policy: ClientCertificates, *, redirected: bool
) -> None:
    """Have requests judged by the handshake of *host*.

    Args:
        draft: Of a route.
        host: The rule host that it stands under.
        policy: What that asks for.
        redirected: Plain requests are redirected to TLS.
    """
    members: dict[str, object] = {"id": asked_id(host, policy), "host": host}
    if redirected:
        members["redirected"] = True
    if (pattern := policy.name_pattern) is not None:
        members["name"] = pattern.pcre
    draft.guard(Stage.CERTIFICATE, "certificate", members)
    draft.edit(Stage.HEADERS, "certificate", policy.forwarded)


DYNAMIC: Final = (DynamicClientCertificates(), DynamicHostTls())
