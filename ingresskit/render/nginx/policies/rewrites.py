"""The path and the host that an endpoint gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.graph import HostRefused, normalise_host, rule_host
from ingresskit.policies import (
    ForwardedPrefix,
    Pattern,
    Policy,
    PrefixRewrite,
    RegexRewrite,
    UpstreamHost,
    is_portable,
)
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.templates import written_template
from ingresskit.render.nginx.tree import Directive, Value
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicForwardedPrefix",
    "DynamicPrefixRewrite",
    "DynamicRegexRewrite",
    "DynamicUpstreamHost",
    "StaticForwardedPrefix",
    "StaticPrefixRewrite",
    "StaticRegexRewrite",
    "StaticUpstreamHost",
]


_PREFIX: Final = "X-Forwarded-Prefix"


class StaticPrefixRewrite(PolicyHandler[PrefixRewrite, StaticDraft]):
    """A ``rewrite`` of the matched octets, which differ from location to location, or of all."""

    policy: type[Policy] = PrefixRewrite

    @override
    def contribute(self, policy: PrefixRewrite, draft: StaticDraft) -> None:
        draft.whole = policy.whole
        draft.prefix = None if policy.prefix is None else policy.prefix.rstrip("/")
        draft.front = None if policy.added is None else policy.added.rstrip("/")


class DynamicPrefixRewrite(PolicyHandler[PrefixRewrite, DynamicDraft]):
    """The edit ``rewrite``."""

    policy: type[Policy] = PrefixRewrite

    @override
    def contribute(self, policy: PrefixRewrite, draft: DynamicDraft) -> None:
        if policy.whole is not None:
            draft.edit(self.stage, "rewrite", {"path": policy.whole})
        elif policy.prefix is not None:
            change = {"prefix": policy.prefix.rstrip("/"), "matched": draft.matched}
            draft.edit(self.stage, "rewrite", change)
        elif policy.added is not None:
            draft.edit(self.stage, "rewrite", {"prefix": policy.added.rstrip("/"), "matched": 0})


class StaticRegexRewrite(PolicyHandler[RegexRewrite, StaticDraft]):
    """For the delegate: the normal form of what came of it has to be looked at once more."""

    policy: type[Policy] = RegexRewrite
    limitations: tuple[Loss, ...] = (
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


class DynamicRegexRewrite(PolicyHandler[RegexRewrite, DynamicDraft]):
    """The edit ``pattern``; what cannot be matched in linear time is left to the delegate."""

    policy: type[Policy] = RegexRewrite
    limitations: tuple[Loss, ...] = (
        Loss(
            field="pattern",
            message="has no time limit for patterns that look around or refer back",
            support=Support.DELEGATED,
            effect="the path stays as it is",
        ),
    )

    @override
    def contribute(self, policy: RegexRewrite, draft: DynamicDraft) -> None:
        if policy.replacement is None:
            return
        path, mark, query = policy.replacement.partition("?")
        change: dict[str, object] = {"path": written_template(path)}
        if policy.pattern is not None:
            change["pattern"] = Pattern(policy.pattern).pcre
        elif draft.pattern is not None:
            change["pattern"] = draft.pattern
        if mark:
            change["query"] = written_template(query)
        draft.edit(self.stage, "pattern", change)

    @override
    def losses(self, policy: RegexRewrite) -> Iterable[Loss]:
        return () if policy.pattern is None or is_portable(policy.pattern) else self.limitations

    @override
    def honoured(self, policy: RegexRewrite) -> Policy | None:
        return None if any(self.losses(policy)) else policy


class StaticUpstreamHost(PolicyHandler[UpstreamHost, StaticDraft]):
    """The field ``Host`` of a location, and the name for TLS."""

    policy: type[Policy] = UpstreamHost

    @override
    def contribute(self, policy: UpstreamHost, draft: StaticDraft) -> None:
        if policy.host is not None:
            draft.request["host"] = ("Host", Value(policy.host))
            draft.settings.append(Directive("proxy_ssl_name", (Value(_name(policy.host) or policy.host),)))


class DynamicUpstreamHost(PolicyHandler[UpstreamHost, DynamicDraft]):
    """The edit ``host``."""

    policy: type[Policy] = UpstreamHost

    @override
    def contribute(self, policy: UpstreamHost, draft: DynamicDraft) -> None:
        if policy.host is not None:
            name = _name(policy.host)
            draft.edit(self.stage, "host", {"host": policy.host} | ({"name": name} if name else {}))


class StaticForwardedPrefix(PolicyHandler[ForwardedPrefix, StaticDraft]):
    """A field of a location."""

    policy: type[Policy] = ForwardedPrefix

    @override
    def contribute(self, policy: ForwardedPrefix, draft: StaticDraft) -> None:
        if policy.prefix is not None:
            draft.request["x-forwarded-prefix"] = (_PREFIX, Value(policy.prefix))


class DynamicForwardedPrefix(PolicyHandler[ForwardedPrefix, DynamicDraft]):
    """A part of the edit ``headers``."""

    policy: type[Policy] = ForwardedPrefix

    @override
    def contribute(self, policy: ForwardedPrefix, draft: DynamicDraft) -> None:
        if policy.prefix is not None:
            draft.request.add(((_PREFIX, policy.prefix),), ())


def _name(authority: str) -> str:
    """The TLS server name of a host with or without a port; empty where it cannot be one."""
    try:
        return rule_host(normalise_host(authority))
    except HostRefused:
        return ""


STATIC: Final = (StaticForwardedPrefix(), StaticPrefixRewrite(), StaticRegexRewrite(), StaticUpstreamHost())
DYNAMIC: Final = (
    DynamicForwardedPrefix(),
    DynamicPrefixRewrite(),
    DynamicRegexRewrite(),
    DynamicUpstreamHost(),
)
