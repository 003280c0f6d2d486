"""Which pages of other sites may read responses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Cors, Policy
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "DynamicCors", "StaticCors"]


class StaticCors(PolicyHandler[Cors, StaticDraft]):
    """For the delegate: the fields of an endpoint cannot be hidden for some origins only."""

    policy: type[Policy] = Cors
    limitations: tuple[Loss, ...] = (
        Loss(message="has no lists of origins", support=Support.DELEGATED, effect="the endpoint decides"),
    )

    @override
    def losses(self, policy: Cors) -> Iterable[Loss]:
        return self.limitations if policy.origins else ()

    @override
    def honoured(self, policy: Cors) -> Policy | None:
        return None if policy.origins else policy


class DynamicCors(PolicyHandler[Cors, DynamicDraft]):
    """The guard ``preflight``, which also finds the origin that the function ``cors`` for responses names."""

    policy: type[Policy] = Cors

    @override
    def contribute(self, policy: Cors, draft: DynamicDraft) -> None:
        if not policy.origins:
            return
        members: dict[str, object] = {"fields": [list(field) for field in policy.fields]}
        if not policy.everybody:
            members["origins"] = rf"\A(?:{policy.pattern})\z"
        if policy.every_options:
            members["every_options"] = True
        draft.guard(self.stage, "preflight", members)
        draft.respond(self.stage, "cors", members, last=True)
        draft.respond_locally(self.stage, "cors", members)


STATIC: Final = (StaticCors(),)
DYNAMIC: Final = (DynamicCors(),)
