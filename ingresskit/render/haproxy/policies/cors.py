"""Which pages of other sites may read responses: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Cors, Policy
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _Cors(Handler[Cors]):
    """HAProxy has no rules for fields that some responses carry and others do not, by a list of the route."""

    policy = Cors
    limitations = (
        Loss(message="has no lists of origins", support=Support.DELEGATED, effect="the endpoint decides"),
    )

    @override
    def losses(self, policy: Cors) -> Iterable[Loss]:
        return self.limitations if policy.origins else ()

    @override
    def honoured(self, policy: Cors) -> Policy | None:
        return None if policy.origins else policy


HANDLERS: Final = (_Cors(),)
