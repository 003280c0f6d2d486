"""Locations for long paths in an nginx that keeps the length of a location in one octet.

Before 1.23.4 nginx compares a location longer than 255 octets by its length modulo 256 only: it takes
requests of other paths and misses its own. So no such location is written. What shares its first 255 octets
with a long path goes to one location of these octets, and regular expressions inside decide, in the
order in which nginx tries them: Exact before Prefix, then the longest first.

Source: CHANGES of nginx 1.23.4, "incorrect location might be chosen to process a request if a prefix
location longer than 255 characters was used"; ticket 2435.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["MAX_LOCATION_BYTES", "Location", "LongPaths", "is_long", "pattern", "split_long"]

MAX_LOCATION_BYTES: Final = 255
"""Of a location that every supported version of nginx finds."""

TakerT = TypeVar("TakerT")


class Location(NamedTuple, Generic[TakerT]):
    """One location to write.

    Attributes:
        modifier: ``=`` or ``^~``.
        written: The path as nginx matches it; what is not UTF-8 are surrogates.
        path: The same in normal form.
        taker: What takes its requests; ``None``: nothing does (404).
    """

    modifier: str
    written: str
    path: str
    taker: TakerT | None


class LongPaths(NamedTuple, Generic[TakerT]):
    """All long locations that begin with the same 255 octets.

    Attributes:
        start: These octets, as a ``^~`` location.
        inside: The long locations, in the order in which they are to be tried.
        other: What takes all other paths that begin with *start*.
    """

    start: str
    inside: tuple[Location[TakerT], ...]
    other: Location[TakerT]


def is_long(written: str) -> bool:
    """Whether a location is one that an old nginx does not find."""
    return len(written) > MAX_LOCATION_BYTES or len(_octets(written)) > MAX_LOCATION_BYTES


def split_long(
    locations: Iterable[Location[TakerT]],
) -> tuple[list[Location[TakerT]], list[LongPaths[TakerT]]]:
    """The locations that can be written as they are, and groups for the others.

    Args:
        locations: All of one server; ``^~ /`` is among them. No two have modifier and path in common.

    Returns:
        Both in the order of *locations*. A ``^~`` location that is the start of a group is only there.
    """
    short: list[Location[TakerT]] = []
    groups: dict[bytes, list[Location[TakerT]]] = {}
    for location in locations:
        if is_long(location.written):
            start = _octets(location.written)[:MAX_LOCATION_BYTES]
            groups.setdefault(start, []).append(location)
        else:
            short.append(location)
    prefixes = {_octets(item.written): item for item in short if item.modifier == "^~"} if groups else {}
    long = [
        LongPaths(
            start.decode("utf-8", "surrogateescape"),
            tuple(sorted(inside, key=lambda item: (item.modifier != "=", -len(_octets(item.written))))),
            _longest(prefixes, start),
        )
        for start, inside in groups.items()
    ]
    return [item for item in short if item.modifier != "^~" or _octets(item.written) not in groups], long


def pattern(location: Location[TakerT]) -> str:
    r"""A regular expression for the paths that *location* takes: its text is quoted by ``\Q`` and ``\E``."""
    quoted = location.written.replace(r"\E", r"\E\\E\Q")
    end = r"\z" if location.modifier == "=" else ""
    return rf"^\Q{quoted}\E{end}"


def _longest(prefixes: dict[bytes, Location[TakerT]], start: bytes) -> Location[TakerT]:
    return max(
        (item for text, item in prefixes.items() if start.startswith(text)), key=lambda item: len(item.written)
    )


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
