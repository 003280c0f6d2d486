"""Which requests are served at all: by their method, and by what their client says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.patterns import Pattern, anywhere

__all__ = [
    "AllowedMethods",
    "DeniedAgents",
    "exact_pattern",
    "parse_methods",
    "parse_patterns",
    "search_pattern",
]

_MOST_PATTERNS: Final = 64
_MOST_METHODS: Final = 16
_META: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")
_IGNORE_CASE: Final = "(?i)"
_PATTERNS: Final = "regular expressions, one a line, 64 at most; letters match in either case"


def search_pattern(text: str, *, ignore_case: bool = True) -> str:
    """The `Pattern` of texts in which the regular expression *text* matches anywhere.

    ``^`` in front of an alternative ties that one to the start of the text.

    Raises:
        PatternRefused: It is not in the grammar of patterns; a `ValueError`.
    """
    return Pattern((_IGNORE_CASE if ignore_case else "") + anywhere(text)).text


def exact_pattern(text: str) -> str:
    """The `Pattern` of *text* in either case, whole.

    Raises:
        PatternRefused: It has a character that patterns may not have, or is too long; a `ValueError`.
    """
    return Pattern(_IGNORE_CASE + _META.sub(r"\\\g<0>", text) + "$").text


def parse_patterns(text: str) -> tuple[str, ...]:
    """Regular expressions, one a line, each as the `Pattern` that finds it anywhere; in the order written."""
    found: dict[str, None] = {}
    lines = [line.strip() for line in text.strip().splitlines()]
    if not any(lines) or len(lines) > _MOST_PATTERNS:
        raise ValueError(f"must be regular expressions, one a line, {_MOST_PATTERNS} at most")
    for line in filter(None, lines):
        try:
            found[search_pattern(line)] = None
        except ValueError as exc:
            raise ValueError(f"must be regular expressions; {line[:80]!a} {exc}") from None
    return tuple(found)


def parse_methods(text: str) -> tuple[str, ...]:
    """Methods separated by commas, in capitals, each once; ``GET`` brings ``HEAD`` along."""
    methods: dict[str, None] = {}
    for part in text.split(","):
        method = part.strip()
        if not re.fullmatch(r"[A-Z]{1,20}", method):
            raise ValueError("must be methods in capitals, separated by commas, such as GET, POST")
        methods[method] = None
        if method == "GET":
            methods["HEAD"] = None
    if len(methods) > _MOST_METHODS:
        raise ValueError(f"must be {_MOST_METHODS} methods at most")
    return tuple(methods)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedMethods(Policy):
    """Which methods are served; requests with another one get 405, with the list in ``Allow``.

    A preflight of a browser is answered before, where `Cors` says so.

    Attributes:
        methods: In capitals; ``HEAD`` is among them where ``GET`` is. Empty lets all pass.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.RATE

    methods: tuple[str, ...] = annotated(
        "allow-methods",
        parse_methods,
        default=(),
        grammar="methods in capitals, separated by commas: `GET, POST`",
        summary="Serve only requests with these methods; others get 405. `GET` allows `HEAD` too.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedAgents(Policy):
    """Which programs and pages requests must not come from; they get 403.

    A client that writes other header fields gets in: it is against robots, not against attackers.
    A request without the field is served.

    Attributes:
        agents: A `Pattern` each, matched at the start of ``User-Agent``; empty denies none.
        referers: The same for ``Referer``.
    """

    protects: ClassVar[bool] = True
    adds_up: ClassVar[frozenset[str]] = frozenset({"agents", "referers"})
    stage: ClassVar[Stage] = Stage.AGENT

    agents: tuple[str, ...] = annotated(
        "deny-user-agents",
        parse_patterns,
        default=(),
        grammar=_PATTERNS,
        summary="Keep requests out whose `User-Agent` matches one of these anywhere, with 403.",
    )
    referers: tuple[str, ...] = annotated(
        "deny-referers",
        parse_patterns,
        default=(),
        grammar=_PATTERNS,
        summary="Keep requests out whose `Referer` matches one of these anywhere, with 403.",
    )
