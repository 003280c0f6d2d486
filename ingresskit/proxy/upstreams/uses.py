"""How the policies of a backend have its endpoints used."""

from __future__ import annotations

from ingresskit.graph import Backend
from ingresskit.policies import EndpointLimit, HealthCheck, PassiveHealth, UpstreamKeepalive, UpstreamTls
from ingresskit.proxy.endpoints import PLAIN_USE, EndpointUse

__all__ = ["use_of"]


def use_of(backend: Backend) -> EndpointUse:
    """The use of the endpoints of *backend*; `PLAIN_USE` where its policies say nothing of them."""
    policies = backend.policies
    if not policies:
        return PLAIN_USE
    tls = policies.get(UpstreamTls) if backend.protocol.is_secure else None
    check = policies.get(HealthCheck)
    limit = policies.get(EndpointLimit)
    return EndpointUse(
        tls=tls,
        tls_name="" if tls is None else tls.name_for(backend.key.service, backend.key.namespace),
        keepalive=policies.get(UpstreamKeepalive),
        passive=policies.get(PassiveHealth),
        check=None if check is None or check.path is None else check,
        limit=0 if limit is None else limit.requests,
    )
