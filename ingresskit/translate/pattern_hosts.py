"""Hosts all of whose paths are regular expressions, because one of its objects says so.

It changes how the paths of other objects match too, so it holds for one namespace only: that of the oldest
object of the host. Where several namespaces share a host, the paths of the others stay what they are, come
after the patterns, and may not be patterns themselves: a pattern could take requests for paths that others
hold.

Source: ingress-nginx, "Ingress Path Matching".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from ingresskit.diagnostics import Diagnostic
from ingresskit.graph import PathKind, PathMatch, PathRefused
from ingresskit.policies import PatternRefused
from ingresskit.translate.claims import Claim
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["NO_PATTERNS", "PatternHost", "pattern_host", "pattern_match"]

_META: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")


def pattern_match(text: str) -> PathMatch:
    """The match of a path that is a regular expression.

    Raises:
        PathRefused: It does not begin with a slash, or is not in the grammar of patterns.
    """
    if not text.startswith("/"):
        raise PathRefused("does not begin with /")
    try:
        return PathMatch.regex(text, host_wide=True)
    except PatternRefused as exc:
        raise PathRefused(f"is a regular expression that {exc}") from None


@dataclass(frozen=True, slots=True)
class PatternHost:
    """Whose paths of a host are regular expressions.

    Attributes:
        namespace: All paths of the objects in that namespace are; ``None``: nobody's are.
    """

    namespace: str | None = None

    def claims(self, item: ResolvedClaims, host: str) -> Sequence[Claim]:
        """The claims of *item* on *host*, as they are matched there."""
        found = item.claims.get(host, ())
        if self.namespace is None or item.namespace != self.namespace:
            return found
        return [claim if _is_pattern(claim) else _as_pattern(claim) for claim in found]

    def refuses(self, item: ResolvedClaims, claim: Claim) -> bool:
        """Whether *claim* is a regular expression that may not be served here."""
        return _is_pattern(claim) and item.namespace != self.namespace

    def doubts(self, item: ResolvedClaims, host: str) -> Iterable[Diagnostic]:
        """What is doubtful about the paths of *item* on *host*, as they are matched there."""
        if any(claim.doubt is not None for claim in item.claims.get(host, ())):
            yield from (claim.doubt for claim in self.claims(item, host) if claim.doubt is not None)


NO_PATTERNS: Final = PatternHost()


def pattern_host(items: Iterable[ResolvedClaims]) -> PatternHost:
    """Whose paths are regular expressions on a host.

    Args:
        items: Those that may be served there, oldest first.
    """
    namespace: str | None = None
    for item in items:
        if namespace is None:
            namespace = item.namespace
        if item.namespace == namespace and item.claimant.policies.regex_paths:
            return PatternHost(namespace)
    return NO_PATTERNS


def _is_pattern(claim: Claim) -> bool:
    return claim.match.kind is PathKind.REGEX


def _as_pattern(claim: Claim) -> Claim:
    """*claim* by an object that does not know its path is a pattern; one that cannot be is taken literally."""
    if claim.fallback or claim.twin_of:
        return claim
    # What is not in the grammar is taken letter by letter; what is too long for a pattern stays a path.
    for text in (claim.pattern, _META.sub(r"\\\g<0>", claim.match.value)):
        with suppress(PatternRefused):
            match = PathMatch.regex(text, host_wide=True)
            doubt = None if text is claim.pattern else claim.doubt
            return replace(claim, match=match, written=claim.written or str(claim.match), doubt=doubt)
    return claim
