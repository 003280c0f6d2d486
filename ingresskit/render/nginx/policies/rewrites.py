"""The path that an endpoint gets."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.policies import Policy, PrefixRewrite
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import PolicyHandler

__all__ = ["DYNAMIC", "STATIC", "DynamicPrefixRewrite", "StaticPrefixRewrite"]


class StaticPrefixRewrite(PolicyHandler[PrefixRewrite, StaticDraft]):
    """A ``rewrite`` of the matched octets, which differ from location to location, or of all."""

    policy: type[Policy] = PrefixRewrite

    @override
    def contribute(self, policy: PrefixRewrite, draft: StaticDraft) -> None:
        draft.whole = policy.whole
        draft.prefix = None if policy.prefix is None else policy.prefix.rstrip("/")


class DynamicPrefixRewrite(PolicyHandler[PrefixRewrite, DynamicDraft]):
    """The edit ``rewrite``."""

    policy: type[Policy] = PrefixRewrite

    @override
    def contribute(self, policy: PrefixRewrite, draft: DynamicDraft) -> None:
        if policy.whole is not None:
            draft.edit(self.stage, "rewrite", {"path": policy.whole})
        elif policy.prefix is not None:
            change = {"prefix": policy.prefix.rstrip("/"), "matched": draft.matched}
            draft.edit(self.stage, "rewrite", change)


STATIC: Final = (StaticPrefixRewrite(),)
DYNAMIC: Final = (DynamicPrefixRewrite(),)
