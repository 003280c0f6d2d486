"""Regular expressions that every data plane matches alike and in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ingresskit.policies.pattern_cost import check_cost
from ingresskit.policies.pattern_syntax import (
    ALL,
    Alternatives,
    Atom,
    End,
    Item,
    PatternRefused,
    Sequence,
    read_pattern,
)

__all__ = ["Pattern", "PatternRefused", "anywhere"]

_SLASH: Final = 1 << ord("/")


@dataclass(frozen=True, slots=True)
class Pattern:
    r"""A regular expression that is matched at the start of a text; ``$`` in it stands for the end.

    A small language on purpose: what nginx, HAProxy (PCRE) and Python match alike, and in linear time
    although they backtrack. Characters, ``.``, classes, ``\d \w \s`` and their opposites, ``( )`` and
    ``(?: )``, ``|``, ``$``, ``(?i)`` at the start; ``* + ? {2,4}`` after a character or a class, and ``?``
    after a group. Not: looking ahead or behind, references back, repeated groups, and repeats that can
    share a text in too many ways.

    Raises:
        PatternRefused: *text* is not in this language; a `ValueError`.
    """

    text: str

    def __post_init__(self) -> None:
        _compiled(self.text)

    def matches(self, text: str) -> bool:
        """Whether *text* begins with a match."""
        return _compiled(self.text).expression.match(text) is not None

    def groups(self, text: str) -> tuple[str, ...] | None:
        """What the groups match where *text* begins with a match; empty texts for those that took no part.

        ``None`` where it does not begin with one.
        """
        found = _compiled(self.text).expression.match(text)
        return None if found is None else found.groups(default="")

    @property
    def ignores_case(self) -> bool:
        """Whether letters match in either case."""
        return _compiled(self.text).ignores_case

    @property
    def literal(self) -> str:
        """The characters that every match begins with, as far as they are written as such; may be empty.

        In the case in which they are written, also where the pattern ignores case.
        """
        return _compiled(self.text).literal

    @property
    def is_literal(self) -> bool:
        """Whether it is written as characters only: a path, of which it takes the beginnings."""
        return _compiled(self.text).is_literal

    @property
    def elements(self) -> str:
        """The path elements that every path which matches begins with: a path without trailing slash.

        Empty when there are none: ``"/api"`` for ``/api/v[0-9]+`` and for ``/api(/|$)(.*)``.
        """
        return _compiled(self.text).elements

    @property
    def pcre(self) -> str:
        """The same for PCRE: to be matched at the start, with ``.`` for every octet; case is spelled out."""
        return rf"\A(?:{_compiled(self.text).expression.pattern})".replace(r"\Z", r"\z")

    def __str__(self) -> str:
        return self.text


def anywhere(text: str, *, lazy: bool = False) -> str:
    """What `Pattern` takes for a regular expression that may match anywhere in a text, not at its start only.

    ``^`` in front of an alternative ties that one to the start, as in other engines.

    Args:
        text: Without ``(?i)``. What is not in the grammar of patterns is refused by `Pattern` as it was before.
        lazy: The groups are those of the first place that matches.
    """
    tied, free = list[str](), list[str]()
    for branch in _top_branches(text):
        # What any text may stand before or after needs no repeat of its own, of which there may be few.
        bare = branch if lazy else re.sub(r"(?<!\\)(?:\.\*)+$", "", re.sub(r"^(?:\.\*)+", "", branch))
        # With a repeat of anything in front, it finds by itself whatever stands before.
        (tied if bare.startswith(("^", ".*")) else free).append(bare.removeprefix("^"))
    if free:
        inner = free[0] if len(free) == 1 else f"(?:{'|'.join(free)})"
        tied.append(f".*{'?' if lazy else ''}{inner}")
    return "|".join(tied)


def _top_branches(text: str) -> list[str]:
    """The alternatives of *text* that stand in no group."""
    branches, start, depth, in_class, at = list[str](), 0, 0, False, 0
    while at < len(text):
        match text[at]:
            case "\\":
                at += 1
            case "[" if not in_class:
                in_class = True
                # A bracket in the first place of a class is one of its characters.
                at += 1 + text.startswith("^", at + 1)
            case "]" if in_class:
                in_class = False
            case "(" if not in_class:
                depth += 1
            case ")" if not in_class:
                depth -= 1
            case "|" if not in_class and depth == 0:
                branches.append(text[start:at])
                start = at + 1
            case _:
                pass
        at += 1
    return [*branches, text[start:]]


@dataclass(frozen=True, slots=True)
class _Compiled:
    expression: re.Pattern[str]
    ignores_case: bool
    literal: str
    is_literal: bool
    elements: str


@lru_cache(maxsize=4096)
def _compiled(text: str) -> _Compiled:
    tree, ignores_case = read_pattern(text)
    check_cost(tree)
    # Written anew: what stands in a class, in particular, Python and PCRE read in slightly different ways.
    expression = re.compile("|".join(map(_written, tree.branches)), re.DOTALL | re.ASCII)
    literal, rest = _literal(tree)
    whole = bool(literal) and _ends_element(rest)
    elements = (literal if whole else literal.rpartition("/")[0]).rstrip("/")
    return _Compiled(
        expression=expression,
        ignores_case=ignores_case,
        literal=literal,
        is_literal=bool(literal) and not rest,
        elements=elements if literal.startswith("/") else "",
    )


def _literal(tree: Alternatives) -> tuple[str, Sequence]:
    """The literal beginning, and what follows it."""
    sequence, *others = tree.branches
    if others:
        return "", ()
    taken: list[str] = []
    for item in sequence:
        if not isinstance(item, Atom) or not item.literal or (item.least, item.most) != (1, 1):
            break
        taken.append(item.literal)
    return "".join(taken), sequence[len(taken) :]


def _ends_element(rest: Sequence) -> bool:
    """Whether what follows begins with a slash or ends the text."""
    if not rest:
        return False
    match rest[0]:
        case Atom(octets=octets, least=least):
            return octets == _SLASH and least > 0
        case End():
            return True
        case Alternatives(branches=branches, optional=optional):
            return not optional and all(map(_ends_element, branches))


def _written(sequence: Sequence) -> str:
    return "".join(map(_item, sequence))


def _item(item: Item) -> str:
    match item:
        case Atom():
            return _class(item.octets) + _counts(item)
        case End():
            return r"\Z"
        case Alternatives():
            inner = "|".join(map(_written, item.branches))
            mark = ("?" if item.optional else "") + ("?" if item.lazy else "")
            return f"({'' if item.captures else '?:'}{inner}){mark}"


def _counts(item: Atom) -> str:
    lazy = "?" if item.lazy else ""
    match item.least, item.most:
        case 1, 1:
            return ""
        case least, None:
            return f"{{{least},}}{lazy}"
        case least, most:
            return f"{{{least},{most}}}{lazy}"


def _class(octets: int) -> str:
    if octets == ALL:
        return "."
    ranges = "".join(
        f"\\x{low:02x}" if low == high else f"\\x{low:02x}-\\x{high:02x}" for low, high in _ranges(octets)
    )
    return f"[{ranges}]"


def _ranges(octets: int) -> Iterator[tuple[int, int]]:
    number = 0
    while octets >> number:
        if octets >> number & 1:
            low = number
            while octets >> (number + 1) & 1:
                number += 1
            yield low, number
        number += 1
