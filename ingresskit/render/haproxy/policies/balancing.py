"""Affinity by a cookie, and hashes of what requests say: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from typing_extensions import override

from ingresskit.policies import Affinity, Algorithm, HashBy, HashPart, HashSource, Policy
from ingresskit.render.haproxy.artifact import SlotClass
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _Affinity(Handler[Affinity]):
    """HAProxy's cookies name servers that stand in its file; ours come and go while it runs."""

    policy = Affinity
    limitations = (
        Loss(
            message="has no cookies for endpoints that come while it runs",
            support=Support.DELEGATED,
            effect="clients do not stay at their endpoints",
        ),
    )

    @override
    def losses(self, policy: Affinity) -> Iterable[Loss]:
        return self.limitations if policy.cookie else ()

    @override
    def honoured(self, policy: Affinity) -> Policy | None:
        return None if policy.cookie else policy


class _HashBy(Handler[HashBy]):
    """For the delegate, but for the address: what is hashed stands in the file, and each would be a reload."""

    policy = HashBy
    limitations = (
        Loss(
            field="parts",
            message="hashes addresses of clients only",
            support=Support.DELEGATED,
            effect="endpoints are chosen without a hash",
        ),
    )

    @override
    def losses(self, policy: HashBy) -> Iterable[Loss]:
        return self.limitations if policy.parts and not _by_client(policy) else ()

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts and not _by_client(policy) else policy

    @override
    def slot_class(self, policy: HashBy, base: SlotClass) -> SlotClass:
        return replace(base, algorithm=Algorithm.CLIENT_HASH) if _by_client(policy) else base


def _by_client(policy: HashBy) -> bool:
    return policy.parts == (HashPart(HashSource.CLIENT),) and policy.subset == 1


HANDLERS: Final = (_Affinity(), _HashBy())
