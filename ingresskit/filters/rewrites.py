"""How the path and the host of a request change on their way."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.edits import HeaderEdit, PathEdit, PatternEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import ForwardedPrefix, PrefixRewrite, RegexRewrite, UpstreamHost

__all__ = ["COMPILERS"]


def _prefix(policy: PrefixRewrite) -> Effect:
    if policy.whole is not None:
        return Effect(path=PathEdit(policy.whole, whole=True))
    if policy.added is not None:
        return Effect(path=PathEdit(policy.added.rstrip("/"), added=True))
    return Effect() if policy.prefix is None else Effect(path=PathEdit(policy.prefix.rstrip("/")))


def _regex(policy: RegexRewrite) -> Effect:
    return (
        Effect() if policy.replacement is None else Effect(path=PatternEdit(policy.pattern, policy.replacement))
    )


def _forwarded_prefix(policy: ForwardedPrefix) -> Effect:
    if policy.prefix is None:
        return Effect()
    return Effect(request=HeaderEdit.of([("X-Forwarded-Prefix", policy.prefix)]))


def _host(policy: UpstreamHost) -> Effect:
    return Effect(host=policy.host or "")


COMPILERS: Final = (
    Compiler(PrefixRewrite, _prefix),
    Compiler(RegexRewrite, _regex),
    Compiler(ForwardedPrefix, _forwarded_prefix),
    Compiler(UpstreamHost, _host),
)
