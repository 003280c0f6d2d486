"""Changes of texts, as pairs of what is replaced and what takes its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ingresskit.policies.patterns import Pattern, anywhere

__all__ = [
    "CLIENT_NAMES",
    "TextChange",
    "parse_domain_changes",
    "parse_location_changes",
    "parse_path_changes",
    "pattern_source",
]

CLIENT_NAMES: Final = frozenset({"scheme", "host", "http_host"})
"""What ``$name`` may stand for in a change of a location: what the client asked for."""

_MOST: Final = 16
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,=:@%/]{0,1000}")
_NAME: Final = re.compile(r"\$([a-z_]*)")
_URL: Final = re.compile(r"(?:/|https?:|\$)[\x21\x23-\x5b\x5d-\x7e]{0,1000}")


class TextChange(NamedTuple):
    """A change of texts that begin in a certain way.

    Attributes:
        source: What is replaced; of a *pattern*, a `Pattern`, whose match stands for the whole text.
        target: What takes its place; of a *pattern*, ``$1`` to ``$9`` stand for what its groups matched.
        pattern: Whether *source* is a pattern.
    """

    source: str
    target: str
    pattern: bool = False


def parse_domain_changes(text: str) -> tuple[TextChange, ...]:
    """Lines of two domains each."""
    return _lines(text, _domain, "must be lines of two domains each, 16 at most")


def parse_path_changes(text: str) -> tuple[TextChange, ...]:
    """Lines of two paths each."""
    return _lines(text, _path, "must be lines of two paths each, both beginning with /, 16 at most")


def parse_location_changes(text: str) -> tuple[TextChange, ...]:
    """Lines of two URLs or paths each, in which ``$scheme``, ``$host`` and ``$http_host`` may stand."""
    rule = (
        "must be lines of two URLs or paths each, 16 at most, of printable ASCII without quotes and"
        " backslashes; $ begins $scheme, $host or $http_host"
    )
    return _lines(text, _url, rule)


def pattern_source(text: str) -> str:
    """The pattern that ``~…`` or, ignoring case, ``~*…`` stands for, matched anywhere in a text.

    Raises:
        ValueError: It is none that is matched in linear time.
    """
    begins = "(?i)" if text.startswith("~*") else ""
    body = text.removeprefix("~").removeprefix("*" if begins else "")
    try:
        return Pattern(begins + anywhere(body, lazy=True)).text
    except ValueError as exc:
        raise ValueError(
            f"must be a regular expression that is matched in linear time: this one {exc}"
        ) from None


def _lines(text: str, valid: Callable[[str], bool], rule: str) -> tuple[TextChange, ...]:
    lines = [line.split() for line in text.strip().splitlines()]
    if not lines or len(lines) > _MOST:
        raise ValueError(rule)
    for words in lines:
        if len(words) != 2 or not all(map(valid, words)):
            raise ValueError(rule)
    return tuple(TextChange(source, target) for source, target in lines)


def _domain(word: str) -> bool:
    return _DOMAIN.fullmatch(word) is not None


def _path(word: str) -> bool:
    return _PATH.fullmatch(word) is not None


def _url(word: str) -> bool:
    return _URL.fullmatch(word) is not None and all(name in CLIENT_NAMES for name in _NAME.findall(word))
