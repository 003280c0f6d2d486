"""Rewrites of the path beside the path of the rule that they are for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final, NamedTuple

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import PathKind, PathMatch, Route
from ingresskit.policies import PatternRefused, PolicySet, PrefixRewrite, RegexRewrite, path_pattern
from ingresskit.translate.claims import Claim

__all__ = ["ElementRoute", "rewrites_for", "whole_elements"]

_END_OF_ELEMENT: Final = "(?:/|$)"


def rewrites_for(claim: Claim, policies: PolicySet) -> PolicySet:
    """*policies* without a rewrite of the path of *claim* to itself.

    Source: ingress-nginx, ``buildProxyPass``: a location that is the target is not rewritten.
    """
    path = claim.pattern or "/"
    prefix = policies.get(PrefixRewrite)
    if prefix is not None and prefix.whole == path:
        return policies.without(PrefixRewrite)
    regex = policies.get(RegexRewrite)
    if regex is not None and regex.pattern is None and regex.replacement == path:
        return policies.without(RegexRewrite)
    return policies


class ElementRoute(NamedTuple):
    """A route, and why it does not do what was asked for."""

    route: Route
    diagnostics: tuple[Diagnostic, ...] = ()


def whole_elements(route: Route, others: Collection[PathMatch]) -> ElementRoute:
    """*route* in a form that has elements for a prefix rewrite to replace.

    A path without any sign of a pattern, on a host whose paths all are patterns, takes what begins with the
    same characters: ``/shop`` takes ``/shopping``, whose first element is not ``/shop``. A rewrite of that
    prefix is about elements, so its rule takes whole elements there too.

    Args:
        route: The route.
        others: The matches of the host. Where one of them is the pattern of the whole elements, that one
            takes all that could be rewritten here, and the path stays as clients send it.
    """
    match = route.match
    rewrite = route.policies.get(PrefixRewrite)
    if match.kind is not PathKind.REGEX or rewrite is None:
        return ElementRoute(route)
    if rewrite.prefix is None or rewrite.whole is not None:
        return ElementRoute(route)
    pattern = path_pattern(match.value)
    if not pattern.is_literal or pattern.literal.endswith("/"):
        return ElementRoute(route)
    unchanged = replace(route, policies=route.policies.without(PrefixRewrite))
    try:
        wide = PathMatch.regex(match.value + _END_OF_ELEMENT, host_wide=match.host_wide)
    except PatternRefused as exc:
        origin = route.policies.origin(PrefixRewrite, "prefix") or route.origin
        message = (
            f"the path {route.shown[:80]!a} is a regular expression on this host, which with the end of its"
            f" last element {exc}; paths are sent as clients ask for them"
        )
        fault = Diagnostic(
            subject=origin.subject,
            field=origin.field,
            reason=Reason.ANNOTATION_IGNORED,
            message=message,
            severity=Severity.WARNING,
        )
        return ElementRoute(unchanged, (fault,))
    return ElementRoute(unchanged if wide in others else replace(route, match=wide))
