r"""Whether a backtracking program matches a pattern in linear time: nginx, HAProxy and Python backtrack.

A program that backtracks comes back to a *choice* (a repeat, an optional part, alternatives) when what
follows fails, and tries another way. A choice costs nothing where

- nothing that follows can fail, as with ``.*`` at the end; or
- no other way can be right, because what follows begins with characters that the repeat does not take, as
  with ``[^/]+/``, or because two alternatives never match at one place, as with ``png|jpg``.

Every other choice multiplies the ways to match. One repeat without a limit may be such a choice
(``.*\.php$``), with nothing behind it that may run through the same text again and again; the others
together may have a hundred ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from ingresskit.policies.pattern_syntax import ALL, Alternatives, Atom, End, Item, PatternRefused, Sequence

__all__ = ["check_cost"]

_MOST_WAYS: Final = 100
_MOST_SIZE: Final = 2000
_REMEDY: Final = "let each repeat exclude what follows it, such as [^/]* in place of .*"


@dataclass(frozen=True, slots=True)
class _Rest:
    """What follows a choice.

    Attributes:
        octets: What it may begin with.
        safe: It cannot fail.
        ended: Nothing may follow: ``$``.
    """

    octets: int = 0
    safe: bool = True
    ended: bool = False


def check_cost(tree: Alternatives) -> None:
    """Accept a pattern that takes linear time wherever it fails.

    Raises:
        PatternRefused: It may take longer.
    """
    if _size(tree) > _MOST_SIZE:
        raise PatternRefused(f"has counts that add up to more than {_MOST_SIZE} characters")
    _group(tree, _Rest(), 0)


def _size(item: Item) -> int:
    match item:
        case Atom():
            return max(item.most or 1, item.least)
        case End():
            return 0
        case Alternatives():
            return sum(_size(part) for branch in item.branches for part in branch)


def _nullable(item: Item) -> bool:
    """Whether it matches nothing, wherever it stands."""
    match item:
        case Atom():
            return item.least == 0
        case End():
            return False
        case Alternatives():
            return item.optional or any(all(map(_nullable, branch)) for branch in item.branches)


def _before(item: Item, rest: _Rest) -> _Rest:
    """What follows the place before *item*."""
    match item:
        case Atom():
            if not item.least and item.most is None and item.octets == ALL and rest.ended:
                return _Rest(ALL, safe=True)
            return _Rest(item.octets | (0 if item.least else rest.octets), safe=not item.least and rest.safe)
        case End():
            return _Rest(0, safe=False, ended=True)
        case Alternatives():
            firsts = [_start(branch, rest) for branch in item.branches]
            octets = 0
            for first in firsts:
                octets |= first.octets
            if item.optional:
                octets |= rest.octets
            return _Rest(octets, safe=_nullable(item) and rest.safe)


def _start(sequence: Sequence, rest: _Rest) -> _Rest:
    for item in reversed(sequence):
        rest = _before(item, rest)
    return rest


def _sequence(sequence: Sequence, rest: _Rest, wide: int) -> tuple[int, int]:
    """How many ways there are, and how many repeats without a limit multiply them, those before included."""
    rests = [rest]
    for item in reversed(sequence):
        rests.append(_before(item, rests[-1]))
    ways = 1
    before: Item | None = None
    for item, after in zip(sequence, reversed(rests[:-1]), strict=True):
        more, wide = _item(item, before, after, wide)
        before = item
        ways *= more
        if ways > _MOST_WAYS:
            raise PatternRefused(f"can match one text in more than {_MOST_WAYS} ways; {_REMEDY}")
    return ways, wide


def _item(item: Item, before: Item | None, rest: _Rest, wide: int) -> tuple[int, int]:
    match item:
        case Atom():
            return _atom(item, before, rest, wide)
        case End():
            return 1, wide
        case Alternatives():
            return _group(item, rest, wide)


def _atom(item: Atom, before: Item | None, rest: _Rest, wide: int) -> tuple[int, int]:
    if item.most == item.least or rest.safe:
        return 1, wide
    if item.most is None:
        if item.octets == ALL and rest.ended:
            return 1, wide
        if wide and not _begins_once(item, before, rest):
            raise PatternRefused(f"has several repeats without a limit that can share a text; {_REMEDY}")
        return 1, wide if not item.octets & rest.octets else 1
    return 1 if not item.octets & rest.octets else item.most - item.least + 1, wide


def _begins_once(item: Atom, before: Item | None, rest: _Rest) -> bool:
    """Whether the runs that it takes at different places share nothing: ``/[0-9]+/``."""
    if item.octets & rest.octets or not isinstance(before, Atom):
        return False
    return before.least == before.most and before.least > 0 and not before.octets & item.octets


def _group(item: Alternatives, rest: _Rest, wide: int) -> tuple[int, int]:
    found = [_sequence(branch, rest, wide) for branch in item.branches]
    ways = [count for count, _ in found]
    total = max(ways) if _exclusive(item.branches) else sum(ways)
    if item.optional and not rest.safe:
        total += 1
    return total, max(count for _, count in found)


def _exclusive(branches: Iterable[Sequence]) -> bool:
    """Whether no two of *branches* match at the same place."""
    beginnings = [_beginning(branch) for branch in branches]
    return all(
        any(not one & other for one, other in zip(*pair, strict=False)) for pair in combinations(beginnings, 2)
    )


def _beginning(branch: Sequence) -> list[int]:
    """The sets of the octets that it certainly begins with; an empty set at the end of the text."""
    sets: list[int] = []
    for item in branch:
        match item:
            case Atom():
                sets += [item.octets] * item.least
                if item.most != item.least:
                    break
            case End():
                sets.append(0)
                break
            case Alternatives():
                break
    return sets
