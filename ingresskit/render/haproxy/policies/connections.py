"""What becomes of a connection to an endpoint: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Policy, UpstreamConnection, UpstreamKeepalive
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _UpstreamConnection(Handler[UpstreamConnection]):
    """HAProxy owns the field, and decides for a whole backend."""

    policy = UpstreamConnection
    limitations = (
        Loss(
            message="decides for all routes of a backend whether connections are used again",
            support=Support.DELEGATED,
        ),
    )

    @override
    def losses(self, policy: UpstreamConnection) -> Iterable[Loss]:
        return () if policy == UpstreamConnection() else self.limitations

    @override
    def honoured(self, policy: UpstreamConnection) -> Policy | None:
        return policy if policy == UpstreamConnection() else None


class _UpstreamKeepalive(Handler[UpstreamKeepalive]):
    """HAProxy shrinks its pool step by step, and counts the uses of no connection of a server that it adds."""

    policy = UpstreamKeepalive
    limitations = (
        Loss(
            message="closes idle connections step by step, and counts no requests on one",
            support=Support.DELEGATED,
            effect="connections are used again as for other routes",
        ),
    )

    @override
    def losses(self, policy: UpstreamKeepalive) -> Iterable[Loss]:
        return () if policy == UpstreamKeepalive() else self.limitations

    @override
    def honoured(self, policy: UpstreamKeepalive) -> Policy | None:
        return policy if policy == UpstreamKeepalive() else None


HANDLERS: Final = (_UpstreamConnection(), _UpstreamKeepalive())
