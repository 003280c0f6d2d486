"""What becomes of a connection to an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import ConnectionUse, HttpVersion, Policy, UpstreamConnection
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


STATIC: Final = (StaticUpstreamConnection(),)
DYNAMIC: Final = (DynamicUpstreamConnection(),)
