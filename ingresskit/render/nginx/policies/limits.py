"""The largest body of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import (
    BY_ADDRESS,
    BandwidthLimit,
    BodyLimit,
    ConnectionLimit,
    Policy,
    RateLimit,
    RequestBuffering,
    Shadow,
)
from ingresskit.render.nginx.addresses import address_ranges
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive
from ingresskit.render.policies import LeftToDelegate, Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicBodyLimit",
    "DynamicConnectionLimit",
    "DynamicRateLimit",
    "StaticBandwidthLimit",
    "StaticBodyLimit",
]


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


def _by_value(policy: str) -> Loss:
    message = f"tells clients of a {policy} apart by their address only"
    return Loss(field="key", message=message, support=Support.DELEGATED)


class DynamicRateLimit(PolicyHandler[RateLimit, DynamicDraft]):
    """The guard ``rate``; clients by other things than their address are the delegate's."""

    policy: type[Policy] = RateLimit
    limitations: tuple[Loss, ...] = (_by_value("rate limit"),)

    @override
    def losses(self, policy: RateLimit) -> Iterable[Loss]:
        return () if policy.key == BY_ADDRESS else self.limitations

    @override
    def contribute(self, policy: RateLimit, draft: DynamicDraft) -> None:
        if policy.rates:
            rates = [[rate.per_second, policy.most(rate) - 1] for rate in policy.rates]
            members = _members(policy, "r", ",".join(map(str, policy.rates)))
            draft.guard(self.stage, "rate", {**members, "rates": rates})


class DynamicConnectionLimit(PolicyHandler[ConnectionLimit, DynamicDraft]):
    """The guard ``connections``; clients by other things than their address are the delegate's."""

    policy: type[Policy] = ConnectionLimit
    limitations: tuple[Loss, ...] = (_by_value("connection limit"),)

    @override
    def losses(self, policy: ConnectionLimit) -> Iterable[Loss]:
        return () if policy.key == BY_ADDRESS else self.limitations

    @override
    def contribute(self, policy: ConnectionLimit, draft: DynamicDraft) -> None:
        if policy.most:
            draft.guard(self.stage, "connections", {**_members(policy, "c"), "most": policy.most})


def _members(policy: RateLimit | ConnectionLimit, kind: str, what: str = "") -> dict[str, object]:
    digest = hashlib.blake2b(f"{kind} {policy.owner} {what}".encode(), digest_size=12).hexdigest()
    members: dict[str, object] = {"owner": f"{digest}/", "status": policy.status}
    if policy.exempt:
        members["exempt"] = address_ranges(policy.exempt)
    return members


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
    DynamicConnectionLimit(),
    DynamicRateLimit(),
    _ON_TRIAL,
)
