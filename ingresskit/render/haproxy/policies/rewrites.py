"""Other paths and hosts for endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from typing_extensions import override

from ingresskit.graph import HostRefused, normalise_host, rule_host
from ingresskit.policies import ForwardedPrefix, Policy, PrefixRewrite, RegexRewrite, UpstreamHost
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import flagged, setting
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _PrefixRewrite(Handler[PrefixRewrite]):
    """The row of the route has the length of what its rule matches, and HAProxy cuts by constants only."""

    policy = PrefixRewrite
    flag = "w"
    words = (
        "What the rule matched of the path is cut off, in powers of two, and the new prefix (after =) put in"
        " front; after + nothing is cut off; a setting that begins with / takes the place of the whole path."
    )

    @override
    def rows(self, policy: PrefixRewrite) -> Iterator[SettingRow]:
        if policy.whole is not None:
            yield MapName.SETTINGS, "rewrite", policy.whole
        elif policy.prefix is not None:
            # A prefix of "/" is empty, and a map has no empty values.
            yield MapName.SETTINGS, "rewrite", "=" + policy.prefix.rstrip("/")
        elif policy.added is not None:
            yield MapName.SETTINGS, "rewrite", "+" + policy.added.rstrip("/")

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-var(txn.rewrite) {setting('rewrite')} if {on}"
        yield f"set-var(txn.cut) var(txn.route),field(5,|),add(0) if {on}"
        yield f"set-var(txn.cut) int(0) if {on} {{ var(txn.rewrite) -m beg + }}"
        yield f"set-var(txn.rest) path if {on}"
        for size in (2**power for power in range(13)):
            yield f"set-var(txn.rest) var(txn.rest),bytes({size}) if {on} {{ var(txn.cut),and({size}) gt 0 }}"
        yield f"set-var-fmt(txn.rest) %[var(txn.rewrite),bytes(1)]%[var(txn.rest)] if {on}"
        yield f"set-var(txn.rest) var(txn.rewrite) if {on} {{ var(txn.rewrite) -m beg / }}"
        yield f"set-path / if {on} {{ var(txn.rest) -m len 0 }}"
        yield f"set-path %[var(txn.rest)] if {on} {{ var(txn.rest) -m beg / }}"


class _RegexRewrite(Handler[RegexRewrite]):
    """For the delegate: the normal form of what came of it has to be looked at once more."""

    policy = RegexRewrite
    limitations = (
        Loss(
            message="has no rewrites by patterns", support=Support.DELEGATED, effect="the path stays as it is"
        ),
    )

    @override
    def losses(self, policy: RegexRewrite) -> Iterable[Loss]:
        return () if policy.replacement is None else self.limitations

    @override
    def honoured(self, policy: RegexRewrite) -> Policy | None:
        return policy if policy.replacement is None else None


class _ForwardedPrefix(Handler[ForwardedPrefix]):
    """A row; what clients say of it was dropped."""

    policy = ForwardedPrefix
    flag = "f"
    words = "The endpoint learns under which path clients see it."

    @override
    def rows(self, policy: ForwardedPrefix) -> Iterator[SettingRow]:
        if policy.prefix is not None:
            yield MapName.SETTINGS, "forwarded-prefix", policy.prefix

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-header X-Forwarded-Prefix %[{setting('forwarded-prefix')}] if {on}"


class _UpstreamHost(Handler[UpstreamHost]):
    """Rows for the field and for the name that endpoints get by TLS."""

    policy = UpstreamHost
    flag = "u"
    words = "The endpoint gets another host than the client asked for."

    @override
    def rows(self, policy: UpstreamHost) -> Iterator[SettingRow]:
        if policy.host is None:
            return
        yield MapName.SETTINGS, "host", policy.host
        with suppress(HostRefused):
            yield MapName.SETTINGS, "server-name", rule_host(normalise_host(policy.host))

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-header Host %[{setting('host')}] if {on}"
        yield f"unset-var(txn.server_name) if {on}"
        yield f"set-var(txn.server_name) {setting('server-name')} if {on}"


HANDLERS: Final = (_ForwardedPrefix(), _PrefixRewrite(), _RegexRewrite(), _UpstreamHost())
