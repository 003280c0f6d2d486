"""Texts with places for what the groups of a pattern matched: ``/v2/$1``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Name", "expand", "parse_path_template", "places_in", "template_pieces"]

_PIECE: Final = re.compile(r"\$(?:([1-9])|(\$)|([a-z_]+))")
_PATH: Final = r"(?:[A-Za-z0-9\-._~!&'()*+,;=:@/]|%[0-9A-Fa-f]{2}|\$[1-9]|\$\$)*"
_TEMPLATE: Final = re.compile(rf"(?=[/$])(?!\$\$){_PATH}(?:\?(?:{_PATH}|\?)*)?")
_DOTS: Final = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:[/;?]|$)", re.IGNORECASE)
_LONGEST: Final = 1000

_NO_NAMES: Final[Mapping[str, str]] = {}


class Name(NamedTuple):
    """A place with a name in a template: ``$host``."""

    name: str


def parse_path_template(text: str) -> str:
    """A path in which ``$1`` to ``$9`` stand for captures and ``$$`` for a dollar sign, maybe with a query.

    It begins with ``/`` or a capture.
    """
    stripped = text.strip()
    if len(stripped) > _LONGEST or not _TEMPLATE.fullmatch(stripped) or _DOTS.search(stripped):
        raise ValueError(
            "must be a path of up to 1000 characters that begins with / or $1 to $9, without . or .. elements;"
            " $ stands before a digit from 1 to 9 or another $ only"
        )
    return stripped


def places_in(text: str) -> frozenset[int]:
    """The numbers of the groups that a template names."""
    return frozenset(piece for piece in template_pieces(text) if isinstance(piece, int))


def expand(text: str, groups: Sequence[str], names: Mapping[str, str] = _NO_NAMES) -> str:
    """A template with its places filled in.

    Args:
        text: The template.
        groups: What the groups matched, from ``$1`` on; a place without a group is empty.
        names: What stands for ``$name``, for every name that *text* has.
    """
    found: list[str] = []
    for piece in template_pieces(text):
        if isinstance(piece, int):
            found.append(groups[piece - 1] if piece <= len(groups) else "")
        else:
            found.append(names[piece.name] if isinstance(piece, Name) else piece)
    return "".join(found)


@lru_cache(maxsize=4096)
def template_pieces(text: str) -> tuple[str | int | Name, ...]:
    """A template in pieces: literal texts, numbers of groups, and names."""
    pieces: list[str | int | Name] = []
    end = 0
    for found in _PIECE.finditer(text):
        if found.start() > end:
            pieces.append(text[end : found.start()])
        end = found.end()
        number, dollar, name = found.groups()
        pieces.append(int(number) if number else dollar or Name(name))
    if end < len(text):
        pieces.append(text[end:])
    return tuple(pieces)
