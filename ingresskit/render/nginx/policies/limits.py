"""The largest body of a request."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.policies import BodyLimit, ConnectionLimit, Policy, RateLimit, Shadow
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive
from ingresskit.render.policies import LeftToDelegate, PolicyHandler

__all__ = ["DYNAMIC", "STATIC", "DynamicBodyLimit", "StaticBodyLimit"]


class StaticBodyLimit(PolicyHandler[BodyLimit, StaticDraft]):
    """``client_max_body_size``.

    nginx judges it when it has found the location, before anything in it; a location for its 413 judges again
    what comes before the body, see `ingresskit.render.nginx.static.hosts`.
    """

    policy: type[Policy] = BodyLimit

    @override
    def contribute(self, policy: BodyLimit, draft: StaticDraft) -> None:
        if policy.max_bytes:
            draft.max_body = Directive("client_max_body_size", (str(policy.max_bytes),))


class DynamicBodyLimit(PolicyHandler[BodyLimit, DynamicDraft]):
    """The guard ``body``, with a number of bytes."""

    policy: type[Policy] = BodyLimit

    @override
    def contribute(self, policy: BodyLimit, draft: DynamicDraft) -> None:
        if policy.max_bytes:
            draft.guard(self.stage, "body", policy.max_bytes)


_ON_TRIAL: Final = LeftToDelegate(Shadow, "cannot only count what it would refuse")

STATIC: Final = (
    StaticBodyLimit(),
    LeftToDelegate(ConnectionLimit, "counts requests behind redirects, and has a zone for each limit"),
    LeftToDelegate(RateLimit, "counts requests behind redirects, and has a zone for each rate"),
    _ON_TRIAL,
)
DYNAMIC: Final = (
    DynamicBodyLimit(),
    LeftToDelegate(ConnectionLimit, "counts no requests at a time"),
    LeftToDelegate(RateLimit, "counts no requests"),
    _ON_TRIAL,
)
