"""Who is let in by name and password: for the delegate.

HAProxy's ``userlist`` computes hashes in the thread that serves everybody, and takes a reload for each change
of a user. It has no digest authentication.
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
from ingresskit.render.haproxy.policies.base import Beyond, Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _Satisfy(Handler[Satisfy]):
    policy = Satisfy
    limitations = (
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


class _OpenPaths(Handler[OpenPaths]):
    """Nothing to do: what it opens is the delegate's, and HAProxy itself authenticates nobody."""

    policy = OpenPaths


HANDLERS: Final = (
    Beyond(BasicAuth, "computes the hashes of passwords in the thread that serves everybody"),
    Beyond(DigestAuth, "has no digest authentication"),
    Beyond(JwtAuth, "judges no claims of tokens"),
    Beyond(ExternalAuth, "asks no other service by itself"),
    _OpenPaths(),
    _Satisfy(),
)
