"""Affinity by a cookie, and hashes of what requests say: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from typing_extensions import override

from ingresskit.policies import Affinity, Algorithm, EndpointLimit, HashBy, HashPart, HashSource, Policy
from ingresskit.render.haproxy.artifact import SlotClass
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


_ADDRESS: Final = (HashPart(HashSource.CLIENT),)
_UNLIMITED: Final = "endpoints get any number of requests"


class _Affinity(Handler[Affinity]):
    """HAProxy's cookies name servers. Ours name a session, whose endpoint is the highest of keyed hashes."""

    policy = Affinity
    limitations = (
        Loss(
            message="cannot tell to which endpoint the name of a session leads",
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
        Loss(
            field="subset",
            message="has no groups of endpoints",
            support=Support.DELEGATED,
            effect="endpoints are chosen without a hash",
        ),
    )

    @override
    def losses(self, policy: HashBy) -> Iterator[Loss]:
        if policy.parts and not _by_client(policy):
            yield self.limitations[policy.parts == _ADDRESS]

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts and not _by_client(policy) else policy

    @override
    def slot_class(self, policy: HashBy, base: SlotClass) -> SlotClass:
        return replace(base, algorithm=Algorithm.CLIENT_HASH) if _by_client(policy) else base


def _by_client(policy: HashBy) -> bool:
    return policy.parts == _ADDRESS and policy.subset == 1


class _EndpointLimit(Handler[EndpointLimit]):
    """A server that has as many as it may would let requests wait, and all workers count alone."""

    policy = EndpointLimit
    limitations = (
        Loss(
            message="does not count the requests of an endpoint", support=Support.DELEGATED, effect=_UNLIMITED
        ),
    )

    @override
    def losses(self, policy: EndpointLimit) -> Iterable[Loss]:
        return self.limitations if policy.requests else ()

    @override
    def honoured(self, policy: EndpointLimit) -> Policy | None:
        return None if policy.requests else policy


HANDLERS: Final = (_Affinity(), _EndpointLimit(), _HashBy())
