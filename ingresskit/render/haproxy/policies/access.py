"""Who is let in: client addresses, and plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import AllowedSources, DeniedSources, PlainHttp
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import flagged, lookup, refused
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.haproxy.prefixes import network_prefixes
from ingresskit.render.haproxy.route_row import PLAIN_HTTP_FLAG

__all__ = ["HANDLERS"]


class _AllowedSources(Handler[AllowedSources]):
    """Ranges as prefixes of the digits of an address, in one map for all routes."""

    policy = AllowedSources
    flag = "a"
    words = "Only clients with an allowed address are let in; without the list, no client is."

    @override
    def rows(self, policy: AllowedSources) -> Iterator[SettingRow]:
        for version, prefix in network_prefixes(policy.networks):
            yield MapName.SOURCES, f"v{version}/{prefix}", "1"

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield from _key("v", on)
        stranger = f"{on} !{{ {lookup('var(txn.key)', MapName.SOURCES)} -m found }}"
        yield from refused("deny deny_status 403", stranger, context.capabilities)


class _DeniedSources(Handler[DeniedSources]):
    """Ranges as those of `_AllowedSources`, in the same map."""

    policy = DeniedSources
    flag = "d"
    words = "Clients with a denied address are kept out."

    @override
    def rows(self, policy: DeniedSources) -> Iterator[SettingRow]:
        for version, prefix in network_prefixes(policy.networks):
            yield MapName.SOURCES, f"d{version}/{prefix}", "1"

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield from _key("d", on)
        denied = f"{on} {{ {lookup('var(txn.key)', MapName.SOURCES)} -m found }}"
        yield from refused("deny deny_status 403", denied, context.capabilities)


def _key(kind: str, condition: str) -> Iterator[str]:
    """Rules for the key under which the client's address is looked up in a list of that kind."""
    six = "{ var(txn.client) -m sub : }"
    for version, family in ((4, f"!{six}"), (6, six)):
        key = f"%[var(txn.policy)]/{kind}{version}/%[var(txn.client),hex]"
        yield f"set-var-fmt(txn.key) {key} if {condition} {family}"


class _PlainHttp(Handler[PlainHttp]):
    """The flag alone says it; a route that cannot be refused plain HTTP has none."""

    policy = PlainHttp
    flag = PLAIN_HTTP_FLAG
    words = "Plain HTTP is refused where the route demands it."

    @override
    def rows(self, policy: PlainHttp) -> Iterator[SettingRow]:
        if not policy.allowed:
            yield MapName.SETTINGS, "plain-http", "0"

    @override
    def request(self, context: Context) -> Iterator[str]:
        yield f"deny deny_status 403 if {flagged(self.flag)} !{{ var(txn.proto) -m str https }}"


HANDLERS: Final = (_AllowedSources(), _DeniedSources(), _PlainHttp())
