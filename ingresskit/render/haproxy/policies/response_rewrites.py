"""What endpoints say of their own place in responses: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import CookieRewrite, LocationRewrite, Policy
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _CookieRewrite(Handler[CookieRewrite]):
    """HAProxy changes header fields by patterns that stand in its configuration, not by those of a route."""

    policy = CookieRewrite
    limitations = (
        Loss(
            message="cannot change attributes of cookies by lists of a route",
            support=Support.DELEGATED,
            effect="cookies stay as the endpoint sets them",
        ),
    )

    @override
    def losses(self, policy: CookieRewrite) -> Iterable[Loss]:
        return self.limitations if policy.domains or policy.paths else ()

    @override
    def honoured(self, policy: CookieRewrite) -> Policy | None:
        return None if policy.domains or policy.paths else policy


class _LocationRewrite(Handler[LocationRewrite]):
    """As cookies."""

    policy = LocationRewrite
    limitations = (
        Loss(
            message="cannot change redirects of endpoints by lists of a route",
            support=Support.DELEGATED,
            effect="they lead where the endpoint says",
        ),
    )

    @override
    def losses(self, policy: LocationRewrite) -> Iterable[Loss]:
        return self.limitations if policy.changes else ()

    @override
    def honoured(self, policy: LocationRewrite) -> Policy | None:
        return None if policy.changes else policy


HANDLERS: Final = (_CookieRewrite(), _LocationRewrite())
