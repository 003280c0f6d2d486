"""Responses that are made smaller on their way: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Coding, Compression, Policy
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _Compression(Handler[Compression]):
    """HAProxy knows no minimum length, and compresses no errors."""

    policy: type[Policy] = Compression
    limitations: tuple[Loss, ...] = (
        Loss(message="compresses responses of any length, and no errors", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: Compression) -> Iterable[Loss]:
        return self.limitations if policy.coding is not Coding.OFF else ()

    @override
    def honoured(self, policy: Compression) -> Policy | None:
        return None


HANDLERS: Final = (_Compression(),)
