"""Affinity by a cookie, and hashes of what requests say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Affinity, HashBy, Policy
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "DynamicAffinity", "DynamicHashBy", "StaticAffinity", "StaticHashBy"]

_AFFINITY: Final = Loss(
    message="keeps no client at its endpoint",
    support=Support.DELEGATED,
    effect="clients do not stay at their endpoints",
)
_HASH: Final = Loss(
    message="hashes addresses of clients only",
    support=Support.DELEGATED,
    effect="endpoints are chosen without a hash",
)


class StaticAffinity(PolicyHandler[Affinity, StaticDraft]):
    """For the delegate: nginx has no affinity cookies without its commercial modules."""

    policy: type[Policy] = Affinity
    limitations: tuple[Loss, ...] = (_AFFINITY,)

    @override
    def losses(self, policy: Affinity) -> Iterable[Loss]:
        return self.limitations if policy.cookie else ()

    @override
    def honoured(self, policy: Affinity) -> Policy | None:
        return None if policy.cookie else policy


class DynamicAffinity(PolicyHandler[Affinity, DynamicDraft]):
    """For the delegate, which has the key of the cookies."""

    policy: type[Policy] = Affinity
    limitations: tuple[Loss, ...] = (_AFFINITY,)

    @override
    def losses(self, policy: Affinity) -> Iterable[Loss]:
        return self.limitations if policy.cookie else ()

    @override
    def honoured(self, policy: Affinity) -> Policy | None:
        return None if policy.cookie else policy


class StaticHashBy(PolicyHandler[HashBy, StaticDraft]):
    """For the delegate."""

    policy: type[Policy] = HashBy
    limitations: tuple[Loss, ...] = (_HASH,)

    @override
    def losses(self, policy: HashBy) -> Iterable[Loss]:
        return self.limitations if policy.parts else ()

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts else policy


class DynamicHashBy(PolicyHandler[HashBy, DynamicDraft]):
    """For the delegate."""

    policy: type[Policy] = HashBy
    limitations: tuple[Loss, ...] = (_HASH,)

    @override
    def losses(self, policy: HashBy) -> Iterable[Loss]:
        return self.limitations if policy.parts else ()

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts else policy


STATIC: Final = (StaticAffinity(), StaticHashBy())
DYNAMIC: Final = (DynamicAffinity(), DynamicHashBy())
