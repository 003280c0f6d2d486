"""What becomes of a connection to an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import ConnectionUse, HttpVersion, Policy, UpstreamConnection, UpstreamKeepalive
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.values import duration
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicUpstreamConnection",
    "StaticUpstreamConnection",
    "StaticUpstreamKeepalive",
]


_VERSION: Final = Loss(
    field="version",
    message="has one version of HTTP for all endpoints",
    support=Support.DELEGATED,
    effect="HTTP/1.1 is spoken",
)


class StaticUpstreamConnection(PolicyHandler[UpstreamConnection, StaticDraft]):
    """The fields of a location; an endpoint that reads ``close`` ends the connection."""

    policy: type[Policy] = UpstreamConnection
    limitations: tuple[Loss, ...] = (_VERSION,)

    @override
    def losses(self, policy: UpstreamConnection) -> Iterable[Loss]:
        return self.limitations if policy.version is HttpVersion.HTTP_1_0 else ()

    @override
    def contribute(self, policy: UpstreamConnection, draft: StaticDraft) -> None:
        if policy.use is not None:
            value = "close" if policy.use is ConnectionUse.CLOSE else ""
            draft.request["connection"] = ("Connection", value)
            draft.request["upgrade"] = ("Upgrade", "")


class DynamicUpstreamConnection(PolicyHandler[UpstreamConnection, DynamicDraft]):
    """The edit ``connection``."""

    policy: type[Policy] = UpstreamConnection
    limitations: tuple[Loss, ...] = (_VERSION,)

    @override
    def losses(self, policy: UpstreamConnection) -> Iterable[Loss]:
        return self.limitations if policy.version is HttpVersion.HTTP_1_0 else ()

    @override
    def contribute(self, policy: UpstreamConnection, draft: DynamicDraft) -> None:
        if policy.use is not None:
            draft.edit(self.stage, "connection", {"close": policy.use is ConnectionUse.CLOSE})


class _UpstreamKeepalive(PolicyHandler[UpstreamKeepalive, object]):
    """nginx keeps so many idle connections of a worker to all endpoints of a backend together."""

    policy: type[Policy] = UpstreamKeepalive
    limitations: tuple[Loss, ...] = (
        Loss(
            message="keeps idle connections of a worker for all endpoints together",
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


class StaticUpstreamKeepalive(PolicyHandler[UpstreamKeepalive, StaticDraft]):
    """``keepalive_requests`` and its like, in the upstream of the backend."""

    policy: type[Policy] = UpstreamKeepalive
    limitations: tuple[Loss, ...] = (
        Loss(
            field="connections",
            message="keeps idle connections of a worker for all endpoints together",
            support=Support.DELEGATED,
            effect="as many are kept as for other routes",
        ),
    )

    @override
    def losses(self, policy: UpstreamKeepalive) -> Iterable[Loss]:
        return () if policy.connections is None else self.limitations

    @override
    def contribute(self, policy: UpstreamKeepalive, draft: StaticDraft) -> None:
        if policy.requests:
            draft.kept["keepalive_requests"] = str(policy.requests)
        if policy.timeout is not None:
            draft.kept["keepalive_timeout"] = duration(policy.timeout)
        if policy.lifetime is not None:
            draft.kept["keepalive_time"] = duration(policy.lifetime)


STATIC: Final = (StaticUpstreamConnection(), StaticUpstreamKeepalive())
DYNAMIC: Final = (DynamicUpstreamConnection(), _UpstreamKeepalive())
