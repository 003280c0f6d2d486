"""What endpoints say of their own place in responses: the domain and path of cookies, and redirects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import CookieRewrite, LocationRewrite, Policy
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC", "CookieRewriteHandler", "LocationRewriteHandler"]

_COOKIES: Final = Loss(
    message="cannot change attributes of cookies",
    support=Support.DELEGATED,
    effect="cookies stay as the endpoint sets them",
)
_REDIRECTS: Final = Loss(
    message="cannot change redirects of endpoints",
    support=Support.DELEGATED,
    effect="they lead where the endpoint says",
)


class CookieRewriteHandler(PolicyHandler[CookieRewrite, object]):
    """For the delegate."""

    policy: type[Policy] = CookieRewrite
    limitations: tuple[Loss, ...] = (_COOKIES,)

    @override
    def losses(self, policy: CookieRewrite) -> Iterable[Loss]:
        return self.limitations if policy.domains or policy.paths else ()

    @override
    def honoured(self, policy: CookieRewrite) -> Policy | None:
        return None if policy.domains or policy.paths else policy


class LocationRewriteHandler(PolicyHandler[LocationRewrite, object]):
    """For the delegate."""

    policy: type[Policy] = LocationRewrite
    limitations: tuple[Loss, ...] = (_REDIRECTS,)

    @override
    def losses(self, policy: LocationRewrite) -> Iterable[Loss]:
        return self.limitations if policy.changes else ()

    @override
    def honoured(self, policy: LocationRewrite) -> Policy | None:
        return None if policy.changes else policy


STATIC: Final = (CookieRewriteHandler(), LocationRewriteHandler())
DYNAMIC: Final = (CookieRewriteHandler(), LocationRewriteHandler())
