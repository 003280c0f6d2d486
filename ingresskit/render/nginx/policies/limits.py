"""The largest body of a request."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.policies import (
    BandwidthLimit,
    BodyLimit,
    ConnectionLimit,
    Policy,
    RateLimit,
    RequestBuffering,
    Shadow,
)
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive
from ingresskit.render.policies import LeftToDelegate, PolicyHandler

__all__ = ["DYNAMIC", "STATIC", "DynamicBodyLimit", "StaticBandwidthLimit", "StaticBodyLimit"]


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


class StaticBandwidthLimit(PolicyHandler[BandwidthLimit, StaticDraft]):
    """``limit_rate``. Without buffers nginx forgets to go on with a response that it delays."""

    policy: type[Policy] = BandwidthLimit

    @override
    def contribute(self, policy: BandwidthLimit, draft: StaticDraft) -> None:
        if policy.rate:
            draft.settings.append(Directive("limit_rate", (str(policy.rate),)))
            draft.settings.append(Directive("limit_rate_after", (str(policy.after),)))
            draft.settings.append(Directive("proxy_buffering", ("on",)))


class DynamicBodyLimit(PolicyHandler[BodyLimit, DynamicDraft]):
    """The guard ``body``, with a number of bytes."""

    policy: type[Policy] = BodyLimit

    @override
    def contribute(self, policy: BodyLimit, draft: DynamicDraft) -> None:
        if policy.max_bytes:
            draft.guard(self.stage, "body", policy.max_bytes)


_GATHERS: Final = LeftToDelegate(RequestBuffering, "gathers bodies of any size, on disk")
_ON_TRIAL: Final = LeftToDelegate(Shadow, "cannot only count what it would refuse")

STATIC: Final = (
    StaticBandwidthLimit(),
    StaticBodyLimit(),
    _GATHERS,
    LeftToDelegate(ConnectionLimit, "counts requests behind redirects, and has a zone for each limit"),
    LeftToDelegate(RateLimit, "counts requests behind redirects, and has a zone for each rate"),
    _ON_TRIAL,
)
DYNAMIC: Final = (
    DynamicBodyLimit(),
    _GATHERS,
    LeftToDelegate(BandwidthLimit, "paces only responses that it gathers, which the program does not"),
    LeftToDelegate(ConnectionLimit, "counts no requests at a time"),
    LeftToDelegate(RateLimit, "counts no requests"),
    _ON_TRIAL,
)
