"""What becomes of a connection to an endpoint."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.policies import ConnectionUse, Policy, UpstreamConnection
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import PolicyHandler

__all__ = ["DYNAMIC", "STATIC", "DynamicUpstreamConnection", "StaticUpstreamConnection"]


class StaticUpstreamConnection(PolicyHandler[UpstreamConnection, StaticDraft]):
    """The fields of a location; an endpoint that reads ``close`` ends the connection."""

    policy: type[Policy] = UpstreamConnection

    @override
    def contribute(self, policy: UpstreamConnection, draft: StaticDraft) -> None:
        if policy.use is not None:
            value = "close" if policy.use is ConnectionUse.CLOSE else ""
            draft.request["connection"] = ("Connection", value)
            draft.request["upgrade"] = ("Upgrade", "")


class DynamicUpstreamConnection(PolicyHandler[UpstreamConnection, DynamicDraft]):
    """The edit ``connection``."""

    policy: type[Policy] = UpstreamConnection

    @override
    def contribute(self, policy: UpstreamConnection, draft: DynamicDraft) -> None:
        if policy.use is not None:
            draft.edit(self.stage, "connection", {"close": policy.use is ConnectionUse.CLOSE})


STATIC: Final = (StaticUpstreamConnection(),)
DYNAMIC: Final = (DynamicUpstreamConnection(),)
