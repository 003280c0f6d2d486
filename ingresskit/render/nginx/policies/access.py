"""Who is let in: client addresses, and plain HTTP."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ingresskit.graph import Route, refuses_plain_http
from ingresskit.policies import AllowedSources, DeniedSources, PlainHttp, Policy, Stage
from ingresskit.render.nginx.addresses import address_ranges
from ingresskit.render.nginx.policies.drafts import ClientIn, DynamicDraft, StaticDraft, StaticGuard
from ingresskit.render.nginx.policies.responses import local_response
from ingresskit.render.nginx.static.forwarding import INSECURE
from ingresskit.render.policies import PolicyHandler

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicAllowedSources",
    "DynamicDeniedSources",
    "DynamicPlainHttp",
    "StaticAllowedSources",
    "StaticDeniedSources",
    "StaticPlainHttp",
    "add_dynamic_plain_http",
    "static_plain_http",
]


class StaticAllowedSources(PolicyHandler[AllowedSources, StaticDraft]):
    """A ``geo`` of the client's address, and a 403 for those that are in none of its ranges."""

    policy: type[Policy] = AllowedSources

    @override
    def contribute(self, policy: AllowedSources, draft: StaticDraft) -> None:
        if policy.networks:
            strangers = ClientIn(policy.networks, inside=False)
            draft.guards.append(StaticGuard(self.stage, strangers, local_response(403)))


class DynamicAllowedSources(PolicyHandler[AllowedSources, DynamicDraft]):
    """The guard ``access``, with sorted ranges."""

    policy: type[Policy] = AllowedSources

    @override
    def contribute(self, policy: AllowedSources, draft: DynamicDraft) -> None:
        if policy.networks:
            draft.guard(self.stage, "access", address_ranges(policy.networks))


class StaticDeniedSources(PolicyHandler[DeniedSources, StaticDraft]):
    """A ``geo`` of the client's address, and a 403 for those that are in one of its ranges."""

    policy: type[Policy] = DeniedSources

    @override
    def contribute(self, policy: DeniedSources, draft: StaticDraft) -> None:
        if policy.networks:
            denied = ClientIn(policy.networks, inside=True)
            draft.guards.append(StaticGuard(self.stage, denied, local_response(403)))


class DynamicDeniedSources(PolicyHandler[DeniedSources, DynamicDraft]):
    """The guard ``denied``, with sorted ranges."""

    policy: type[Policy] = DeniedSources

    @override
    def contribute(self, policy: DeniedSources, draft: DynamicDraft) -> None:
        if policy.networks:
            draft.guard(self.stage, "denied", address_ranges(policy.networks))


class StaticPlainHttp(PolicyHandler[PlainHttp, StaticDraft]):
    """As `static_plain_http` says: what it means depends on the path of the rule too."""

    policy: type[Policy] = PlainHttp


class DynamicPlainHttp(PolicyHandler[PlainHttp, DynamicDraft]):
    """As `add_dynamic_plain_http` says: what it means depends on the path of the rule too."""

    policy: type[Policy] = PlainHttp


def static_plain_http(route: Route) -> StaticGuard | None:
    """A 403 for plain HTTP; ``None`` where *route* serves it."""
    return StaticGuard(Stage.PLAIN_HTTP, INSECURE, local_response(403)) if refuses_plain_http(route) else None


def add_dynamic_plain_http(draft: DynamicDraft) -> None:
    """Refuse plain HTTP."""
    draft.guard(Stage.PLAIN_HTTP, "plain_http", True)


STATIC: Final = (
    StaticAllowedSources(),
    StaticDeniedSources(),
    StaticPlainHttp(),
)
DYNAMIC: Final = (
    DynamicAllowedSources(),
    DynamicDeniedSources(),
    DynamicPlainHttp(),
)
