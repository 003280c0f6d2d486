"""What becomes of a connection to an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import ConnectionUse, HttpVersion, Policy, UpstreamConnection, UpstreamKeepalive
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "DynamicUpstreamConnection", "StaticUpstreamConnection"]


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


STATIC: Final = (StaticUpstreamConnection(), _UpstreamKeepalive())
DYNAMIC: Final = (DynamicUpstreamConnection(), _UpstreamKeepalive())
