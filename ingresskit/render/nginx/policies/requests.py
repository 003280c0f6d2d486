"""Which requests are served at all: by their method, and by what their client says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import AllowedMethods, DeniedAgents, Pattern, Policy
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicAllowedMethods",
    "DynamicDeniedAgents",
    "StaticAllowedMethods",
    "StaticDeniedAgents",
]


class StaticAllowedMethods(PolicyHandler[AllowedMethods, StaticDraft]):
    """For the delegate: ``limit_except`` responds 403, without the list."""

    policy: type[Policy] = AllowedMethods
    limitations: tuple[Loss, ...] = (
        Loss(message="has no lists of methods with their own response", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: AllowedMethods) -> Iterable[Loss]:
        return self.limitations if policy.methods else ()


class DynamicAllowedMethods(PolicyHandler[AllowedMethods, DynamicDraft]):
    """The guard ``methods``."""

    policy: type[Policy] = AllowedMethods

    @override
    def contribute(self, policy: AllowedMethods, draft: DynamicDraft) -> None:
        if policy.methods:
            members: dict[str, object] = {
                "allow": ", ".join(policy.methods),
                "known": dict.fromkeys(policy.methods, True),
            }
            draft.guard(self.stage, "methods", members)


class StaticDeniedAgents(PolicyHandler[DeniedAgents, StaticDraft]):
    """For the delegate: no pattern of a tenant stands in a configuration."""

    policy: type[Policy] = DeniedAgents
    limitations: tuple[Loss, ...] = (
        Loss(message="has no regular expressions of annotations in its text", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: DeniedAgents) -> Iterable[Loss]:
        return self.limitations if policy.agents or policy.referers else ()


class DynamicDeniedAgents(PolicyHandler[DeniedAgents, DynamicDraft]):
    """The guard ``agents``, with patterns of PCRE."""

    policy: type[Policy] = DeniedAgents

    @override
    def contribute(self, policy: DeniedAgents, draft: DynamicDraft) -> None:
        lists = {"agents": policy.agents, "referers": policy.referers}
        members: dict[str, object] = {
            name: [Pattern(text).pcre for text in texts] for name, texts in lists.items() if texts
        }
        if members:
            draft.guard(self.stage, "agents", members)


STATIC: Final = (StaticAllowedMethods(), StaticDeniedAgents())
DYNAMIC: Final = (DynamicAllowedMethods(), DynamicDeniedAgents())
