"""Affinity by a cookie, and hashes of what requests say: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Affinity, HashBy, Policy
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
    """What is hashed stands in the file, as a part of a slot class: a reload for each."""

    policy = HashBy
    limitations = (
        Loss(
            message="hashes addresses of clients only",
            support=Support.DELEGATED,
            effect="endpoints are chosen without a hash",
        ),
    )

    @override
    def losses(self, policy: HashBy) -> Iterable[Loss]:
        return self.limitations if policy.parts else ()

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts else policy


HANDLERS: Final = (_Affinity(), _HashBy())
