"""The grammar of regular expressions, read into a tree: what RE2, PCRE and Python understand alike.

Sets of characters are integers with one bit for each of the 256 octets, so that sets are compared quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

__all__ = ["ALL", "Alternatives", "Atom", "End", "Item", "PatternRefused", "Sequence", "read_pattern"]

ALL: Final = (1 << 256) - 1
"""The set of all octets."""

_MOST_CHARACTERS: Final = 1000
_MOST_REPEATED: Final = 1000
_DEEPEST: Final = 20
_META: Final = frozenset("\\^$.|?*+()[]{}")
_IGNORE_CASE: Final = "(?i)"


class PatternRefused(ValueError):
    """Raised for a text that is not in the grammar. Its text is a clause: ``"has a look-ahead, …"``."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One octet out of a set, *least* to *most* times; *most* ``None``: any number.

    Attributes:
        lazy: Prefers fewer; what is matched is the same, only where groups end differs.
        literal: The character, where its author wrote one; empty for classes.
    """

    octets: int
    least: int = 1
    most: int | None = 1
    lazy: bool = False
    literal: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """``$``: nothing may follow."""


@dataclass(frozen=True, slots=True)
class Alternatives:
    """A group.

    Attributes:
        branches: At least one.
        optional: ``?`` follows it.
        captures: Whether it is numbered.
    """

    branches: tuple[Sequence, ...]
    optional: bool = False
    lazy: bool = False
    captures: bool = False


Item = Atom | End | Alternatives
Sequence = tuple[Item, ...]


def read_pattern(text: str) -> tuple[Alternatives, bool]:
    """The tree of *text*, and whether letters match in either case (``(?i)`` stands at its start).

    Raises:
        PatternRefused: It is not in the grammar.
    """
    if not text.isascii() or not text.isprintable():
        raise PatternRefused("has a character that is not printable ASCII; write %XX, as URLs have it")
    if len(text) > _MOST_CHARACTERS:
        raise PatternRefused(f"is longer than {_MOST_CHARACTERS} characters")
    ignore_case = text.startswith(_IGNORE_CASE)
    reader = _Reader(text.removeprefix(_IGNORE_CASE), ignore_case=ignore_case)
    return reader.read(), ignore_case


class _Reader:
    def __init__(self, text: str, *, ignore_case: bool) -> None:
        self._text = text
        self._at = 0
        self._ignore_case = ignore_case
        self._depth = 0

    def read(self) -> Alternatives:
        if self._peek() == "^":
            # Patterns match at the start anyway; of alternatives, ^ would mean the first one only.
            self._at += 1
        tree = Alternatives(self._branches())
        if self._at < len(self._text):
            self._refuse("has a ) without (")
        return tree

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        if not (found := self._peek()):
            self._refuse("ends in the middle of an expression")
        self._at += 1
        return found

    def _refuse(self, why: str) -> NoReturn:
        raise PatternRefused(why)

    def _branches(self) -> tuple[Sequence, ...]:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        return tuple(branches)

    def _sequence(self) -> Sequence:
        items: list[Item] = []
        while self._peek() not in ("", "|", ")"):
            items.append(self._item())
        return tuple(items)

    def _item(self) -> Item:
        match self._take():
            case "(":
                return self._group()
            case "[":
                return self._repeated(self._class(), "")
            case ".":
                return self._repeated(ALL, "")
            case "\\":
                octets, literal = self._escape()
                return self._repeated(octets, literal)
            case "$":
                if self._peek() in ("*", "+", "?", "{"):
                    self._refuse("repeats $")
                return End()
            case "^":
                self._refuse("has a ^ that is not at its start; a pattern matches at the start of the text")
            case "*" | "+" | "?" | "{" as mark:
                self._refuse(f"has a {mark} with nothing before it to repeat")
            case plain:
                return self._repeated(self._folded(1 << ord(plain)), plain)
        return None

    def _group(self) -> Alternatives:
        captures = True
        if self._peek() == "?":
            if not self._text.startswith("?:", self._at):
                self._refuse_group()
            self._at += 2
            captures = False
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"has groups in each other, more than {_DEEPEST} deep")
        branches = self._branches()
        self._depth -= 1
        if self._peek() != ")":
            self._refuse("has a ( without )")
        self._at += 1
        optional = lazy = False
        if self._peek() == "?":
            self._at += 1
            optional, lazy = True, self._lazy()
        if self._peek() in ("*", "+", "?", "{"):
            self._refuse("repeats a group; only a character or a class can be repeated, and a group have one ?")
        return Alternatives(branches, optional=optional, lazy=lazy, captures=captures)

    def _refuse_group(self) -> NoReturn:
        rest = self._text[self._at :]
        if rest.startswith(("?=", "?!", "?<=", "?<!")):
            self._refuse("looks ahead or behind, which cannot be matched in linear time")
        if rest.startswith("?i"):
            self._refuse("has (?i) elsewhere than at its start")
        self._refuse(f"has a group of the kind ({rest[:3]}, which is not known; there are ( and (?:")

    def _lazy(self) -> bool:
        if self._peek() != "?":
            return False
        self._at += 1
        return True

    def _repeated(self, octets: int, literal: str) -> Atom:
        least = 1
        most: int | None = 1
        match self._peek():
            case "*":
                least, most = 0, None
            case "+":
                most = None
            case "?":
                least = 0
            case "{":
                return self._counted(octets, literal)
            case _:
                return Atom(octets, literal=literal)
        self._at += 1
        return self._quantified(octets, least, most, literal)

    def _counted(self, octets: int, literal: str) -> Atom:
        end = self._text.find("}", self._at)
        counts = self._text[self._at + 1 : end] if end > 0 else ""
        first, comma, last = counts.partition(",")
        if not first.isdecimal() or (last and not last.isdecimal()):
            self._refuse("has a { that begins no count such as {2}, {2,} or {2,4}; write \\{ for the character")
        self._at = end + 1
        least = int(first[:9])
        most = (int(last[:9]) if last else None) if comma else least
        if least > _MOST_REPEATED or (most or 0) > _MOST_REPEATED:
            self._refuse(f"repeats more than {_MOST_REPEATED} times")
        if most is not None and most < least:
            self._refuse(f"has the count {{{counts}}}, whose end is less than its beginning")
        return self._quantified(octets, least, most, literal)

    def _quantified(self, octets: int, least: int, most: int | None, literal: str) -> Atom:
        lazy = self._lazy()
        if self._peek() == "+":
            self._refuse("has a possessive repeat, which not every program knows")
        if self._peek() in ("*", "?", "{"):
            self._refuse("repeats a repeat")
        return Atom(octets, least, most, lazy, literal)

    def _class(self) -> int:
        negated = self._peek() == "^"
        self._at += negated
        octets, first = 0, True
        while first or self._peek() != "]":
            octets |= self._range()
            first = False
        self._at += 1
        octets = self._folded(octets)
        if negated:
            octets = ALL & ~octets
        if not octets:
            self._refuse("has a class that no character is in")
        return octets

    def _range(self) -> int:
        octets, low = self._member()
        following = self._text[self._at + 1 : self._at + 2]
        if self._peek() != "-" or following in ("]", ""):
            return octets
        self._at += 1
        _, high = self._member()
        if not low or not high or high < low:
            self._refuse("has a range in a class that does not go from one character up to another")
        return sum(1 << number for number in range(ord(low), ord(high) + 1))

    def _member(self) -> tuple[int, str]:
        match self._take():
            case "\\":
                return self._escape()
            case "[" | "]":
                self._refuse("has a [ or ] inside a class; write \\[ or \\] for the character")
            case plain:
                return 1 << ord(plain), plain
        return None

    def _escape(self) -> tuple[int, str]:
        letter = self._take()
        if (octets := _CLASSES.get(letter)) is not None:
            return octets, ""
        if letter.isdecimal():
            self._refuse(f"refers back to a group (\\{letter}), which cannot be matched in linear time")
        if letter.isalpha():
            known = ", ".join(f"\\{name}" for name in _CLASSES)
            self._refuse(f"has the escape \\{letter}; there are {known}, and \\ before what is no letter")
        return self._folded(1 << ord(letter)), letter

    def _folded(self, octets: int) -> int:
        if not self._ignore_case:
            return octets
        upper, lower = octets & _UPPER, octets & _LOWER
        return octets | upper << 32 | lower >> 32


def _set(characters: str) -> int:
    return sum(1 << ord(item) for item in set(characters))


_DIGITS: Final = _set("0123456789")
_UPPER: Final = _set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER: Final = _UPPER << 32
_WORD: Final = _DIGITS | _UPPER | _LOWER | _set("_")
_SPACE: Final = _set(" \t\n\r\f\v")
_CLASSES: Final = {
    "d": _DIGITS,
    "D": ALL & ~_DIGITS,
    "w": _WORD,
    "W": ALL & ~_WORD,
    "s": _SPACE,
    "S": ALL & ~_SPACE,
}
