"""Responses that are made smaller on their way: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import Coding, Compression, Policy
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC"]


class _Compression(PolicyHandler[Compression, object]):
    """nginx compresses what forbids it, too."""

    policy: type[Policy] = Compression
    limitations: tuple[Loss, ...] = (
        Loss(message="compresses responses that forbid it (no-transform)", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: Compression) -> Iterable[Loss]:
        return self.limitations if policy.coding is not Coding.OFF else ()

    @override
    def honoured(self, policy: Compression) -> Policy | None:
        return None


STATIC: Final = (_Compression(),)
DYNAMIC: Final = (_Compression(),)
