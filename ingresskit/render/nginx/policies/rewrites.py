"""The path and the host that an endpoint gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Policy, PrefixRewrite, RegexRewrite, UpstreamHost
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicPrefixRewrite",
    "DynamicUpstreamHost",
    "RegexRewriteHandler",
    "StaticPrefixRewrite",
    "StaticUpstreamHost",
]


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


class RegexRewriteHandler(PolicyHandler[RegexRewrite, object]):
    """For the delegate: the normal form of what came of it has to be looked at once more."""

    policy: type[Policy] = RegexRewrite
    limitations: tuple[Loss, ...] = (
        Loss(
            message="has no rewrites by patterns", support=Support.DELEGATED, effect="the path stays as it is"
        ),
    )

    @override
    def losses(self, policy: RegexRewrite) -> Iterable[Loss]:
        return () if policy.replacement is None else self.limitations

    @override
    def honoured(self, policy: RegexRewrite) -> Policy | None:
        return policy if policy.replacement is None else None


_HOST_LOSS: Final = Loss(
    message="sends the host of the client", support=Support.DELEGATED, effect="endpoints get the client's host"
)


class StaticUpstreamHost(PolicyHandler[UpstreamHost, StaticDraft]):
    """For the delegate."""

    policy: type[Policy] = UpstreamHost
    limitations: tuple[Loss, ...] = (_HOST_LOSS,)

    @override
    def losses(self, policy: UpstreamHost) -> Iterable[Loss]:
        return () if policy.host is None else self.limitations

    @override
    def honoured(self, policy: UpstreamHost) -> Policy | None:
        return policy if policy.host is None else None


class DynamicUpstreamHost(PolicyHandler[UpstreamHost, DynamicDraft]):
    """For the delegate."""

    policy: type[Policy] = UpstreamHost
    limitations: tuple[Loss, ...] = (_HOST_LOSS,)

    @override
    def losses(self, policy: UpstreamHost) -> Iterable[Loss]:
        return () if policy.host is None else self.limitations

    @override
    def honoured(self, policy: UpstreamHost) -> Policy | None:
        return policy if policy.host is None else None


STATIC: Final = (StaticPrefixRewrite(), RegexRewriteHandler(), StaticUpstreamHost())
DYNAMIC: Final = (DynamicPrefixRewrite(), RegexRewriteHandler(), DynamicUpstreamHost())
