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
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "LeftCredentials", "LeftSatisfy", "NoOpenPaths"]


class LeftCredentials(PolicyHandler[Policy, object]):
    """Leaves a policy whole to the delegate.

    Args:
        kind: The type of policy.
        message: What nginx lacks, as `Loss.message`.
    """

    def __init__(self, kind: type[Policy], message: str) -> None:
        self.policy: type[Policy] = kind
        self.limitations: tuple[Loss, ...] = (Loss(message=message, support=Support.DELEGATED),)

    @override
    def losses(self, policy: Policy) -> Iterable[Loss]:
        return self.limitations

    @override
    def honoured(self, policy: Policy) -> Policy | None:
        return None


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
    LeftCredentials(BasicAuth, "computes the hashes of passwords in the worker that serves everybody"),
    LeftCredentials(DigestAuth, "has no digest authentication"),
    LeftCredentials(JwtAuth, "has no tokens"),
    LeftCredentials(ExternalAuth, "asks other services by a module that does a part of it only"),
    NoOpenPaths(),
    LeftSatisfy(),
)
DYNAMIC: Final = STATIC
