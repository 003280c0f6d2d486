"""Who is let in by name and password: for the delegate.

nginx's ``auth_basic`` computes hashes in the worker that serves everybody, and knows those of the C library
only. It has no digest authentication.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import (
    BasicAuth,
    DigestAuth,
    ExternalAuth,
    JwtAuth,
    OpenPaths,
    Policy,
    Satisfaction,
    Satisfy,
)
from ingresskit.render.policies import LeftToDelegate, Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "LeftSatisfy", "NoOpenPaths"]


class LeftSatisfy(PolicyHandler[Satisfy, object]):
    """Leaves ``any`` to the delegate; ``all`` is what nginx does by itself."""

    policy: type[Policy] = Satisfy
    limitations: tuple[Loss, ...] = (
        Loss(
            field="mode",
            message="does not combine addresses and credentials",
            support=Support.DELEGATED,
            effect="clients need both",
        ),
    )

    @override
    def losses(self, policy: Satisfy) -> Iterable[Loss]:
        return self.limitations if policy.mode is Satisfaction.ANY else ()

    @override
    def honoured(self, policy: Satisfy) -> Policy | None:
        return None if policy.mode is Satisfaction.ANY else policy


class NoOpenPaths(PolicyHandler[OpenPaths, object]):
    """Nothing to do: what it opens is the delegate's, and nginx itself authenticates nobody."""

    policy: type[Policy] = OpenPaths


STATIC: Final = (
    LeftToDelegate(BasicAuth, "computes the hashes of passwords in the worker that serves everybody"),
    LeftToDelegate(DigestAuth, "has no digest authentication"),
    LeftToDelegate(JwtAuth, "has no tokens"),
    LeftToDelegate(ExternalAuth, "asks other services by a module that does a part of it only"),
    NoOpenPaths(),
    LeftSatisfy(),
)
DYNAMIC: Final = STATIC
