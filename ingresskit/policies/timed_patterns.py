"""Regular expressions that only an engine with a time limit may match: those that look around or refer back.

The package ``regex`` is that engine; without it (the extra ``patterns``) such a pattern is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol, cast

from ingresskit.policies.patterns import Pattern, PatternRefused

__all__ = [
    "MATCHING_TIME",
    "PathPattern",
    "TimedPattern",
    "is_portable",
    "match_groups",
    "parse_path_pattern",
    "path_pattern",
]

MATCHING_TIME: Final = timedelta(milliseconds=20)
"""How long one match may take; a request whose path takes longer is refused."""

_LONGEST: Final = 1000
# What the engine knows beyond (recursion, fuzzy matches, lists) stays out.
_FORBIDDEN: Final = re.compile(
    r"\(\?(?!:|=|!|<=|<!|>)"  # groups of other kinds, also named ones and flags
    r"|\\(?![dDwWsSbB1-9]|[^A-Za-z0-9])"  # other escapes
    r"|\{(?!(?:[0-9]{1,3}(?:,[0-9]{0,3})?|,[0-9]{1,3})\})"  # { that begins no count
)
_ESCAPED: Final = re.compile(r"\\[^A-Za-z0-9]")
_IGNORE_CASE: Final = "(?i)"


@dataclass(frozen=True, slots=True)
class TimedPattern:
    """A regular expression as `Pattern`, but one that only an engine with a time limit may match.

    It has whatever Perl's have in common, but for named groups, recursion and flags.

    Attributes:
        text: As written.
        limit: How long one match may take.

    Raises:
        PatternRefused: *text* is none, or the package ``regex`` is not there.
    """

    text: str
    limit: timedelta = MATCHING_TIME

    def __post_init__(self) -> None:
        text = self.text
        if len(text) > _LONGEST or not text.isascii() or not text.isprintable():
            raise PatternRefused("has a character that is not printable ASCII, or too many of them")
        if _FORBIDDEN.search(_ESCAPED.sub("", text.removeprefix(_IGNORE_CASE))):
            raise PatternRefused("has a group, an escape or a count of a kind that is not known")
        if find_spec("regex") is None:
            raise PatternRefused("needs the package regex, which matches such with a time limit")
        _compiled(text)

    def matches(self, text: str) -> bool:
        """Whether *text* begins with a match.

        Raises:
            TimeoutError: It takes longer than *limit*.
        """
        return self.groups(text) is not None

    def groups(self, text: str) -> tuple[str, ...] | None:
        """As `Pattern.groups`.

        Raises:
            TimeoutError: It takes longer than *limit*.
        """
        found = _compiled(self.text).match(text, timeout=self.limit.total_seconds())
        return None if found is None else tuple(found.groups(default=""))

    @property
    def ignores_case(self) -> bool:
        """As `Pattern.ignores_case`."""
        return self.text.startswith(_IGNORE_CASE)

    @property
    def literal(self) -> str:
        """As `Pattern.literal`; what such a pattern begins with is not looked at."""
        return ""

    @property
    def is_literal(self) -> bool:
        """As `Pattern.is_literal`."""
        return False

    @property
    def elements(self) -> str:
        """As `Pattern.elements`."""
        return ""

    def __str__(self) -> str:
        return self.text


PathPattern = Pattern | TimedPattern
"""A regular expression for paths."""


@lru_cache(maxsize=4096)
def path_pattern(text: str) -> PathPattern:
    """The regular expression that *text* is: a `Pattern` where it can be one.

    Raises:
        PatternRefused: It is neither.
    """
    try:
        return Pattern(text)
    except PatternRefused as exc:
        why = exc
    try:
        return TimedPattern(text)
    except PatternRefused as exc:
        # What is wrong with it as a `Pattern` is the nearer fault, unless the engine is missing.
        raise (exc if "package" in str(exc) else why) from None


def parse_path_pattern(text: str) -> str:
    """A regular expression that is matched at the start of a path in normal form."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("must be a regular expression")
    try:
        return path_pattern(stripped).text
    except PatternRefused as exc:
        raise ValueError(f"must be a regular expression for paths: this one {exc}") from None


def is_portable(text: str) -> bool:
    """Whether every data plane matches *text* alike and in linear time, as `Pattern` promises.

    Args:
        text: As of a `PathPattern`.
    """
    return isinstance(path_pattern(text), Pattern)


def match_groups(text: str, subject: str) -> tuple[str, ...] | None:
    """What the groups of *text* match at the start of *subject*, empty for those that took no part.

    Args:
        text: As of a `PathPattern`.
        subject: What is matched.

    Returns:
        The groups from the first on; ``None`` where *subject* does not begin with a match.

    Raises:
        TimeoutError: It took longer than `MATCHING_TIME`.
    """
    return path_pattern(text).groups(subject)


class _Timed(Protocol):
    """A compiled pattern of the package ``regex``, which has no types of its own."""

    def match(self, text: str, *, timeout: float) -> re.Match[str] | None: ...


class _Engine(Protocol):
    """That package."""

    VERSION0: int
    ASCII: int
    DOTALL: int
    error: type[Exception]

    def compile(self, text: str, flags: int) -> _Timed: ...


@lru_cache(maxsize=1024)
def _compiled(text: str) -> _Timed:
    engine = cast("_Engine", import_module("regex"))
    try:
        return engine.compile(text, engine.VERSION0 | engine.ASCII | engine.DOTALL)
    except engine.error as exc:
        raise PatternRefused(f"is none ({exc})") from None
    except (OverflowError, RecursionError):
        raise PatternRefused("is too deep or too large") from None
