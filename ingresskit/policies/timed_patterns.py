"""Regular expressions that only an engine with a time limit may match: those that look around or refer back.

The package ``regex`` is that engine; without it (the extra ``patterns``) such a pattern is refused.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol, cast

from ingresskit.policies.patterns import Pattern, PatternRefused

__all__ = ["MATCHING_TIME", "is_portable", "match_groups", "parse_path_pattern"]

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


def parse_path_pattern(text: str) -> str:
    """A regular expression that is matched at the start of a path in normal form."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("must be a regular expression")
    try:
        Pattern(stripped)
    except PatternRefused as exc:
        _check(stripped, exc)
    return stripped


@lru_cache(maxsize=4096)
def is_portable(text: str) -> bool:
    """Whether every data plane matches *text* alike and in linear time, as `Pattern` promises."""
    try:
        Pattern(text)
    except PatternRefused:
        return False
    return True


def match_groups(text: str, subject: str) -> tuple[str, ...] | None:
    """What the groups of *text* match at the start of *subject*, empty for those that took no part.

    Args:
        text: As `parse_path_pattern` returned it.
        subject: What is matched.

    Returns:
        The groups from the first on; ``None`` where *subject* does not begin with a match.

    Raises:
        TimeoutError: It took longer than `MATCHING_TIME`.
    """
    if is_portable(text):
        return Pattern(text).groups(subject)
    found = _compiled(text).match(subject, timeout=MATCHING_TIME.total_seconds())
    return None if found is None else tuple(found.groups(default=""))


def _check(text: str, why: PatternRefused) -> None:
    """Whether the engine with a time limit may match *text*."""
    rule = f"must be a regular expression that is matched in linear time: this one {why}"
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        raise ValueError(rule)
    if _FORBIDDEN.search(_ESCAPED.sub("", text.removeprefix(_IGNORE_CASE))):
        raise ValueError(rule)
    if find_spec("regex") is None:
        raise ValueError(f"{rule}, and the package regex, which matches such with a time limit, is not there")
    try:
        _compiled(text)
    except ValueError as exc:
        raise ValueError(f"must be a regular expression: {exc}") from None


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
        raise ValueError(str(exc)) from None
    except (OverflowError, RecursionError):
        raise ValueError("it is too deep or too large") from None
