"""HAProxy's own reading of its files, written from its manual: what it would make of each line.

Source: configuration manual, 2.2 "Quoting and escaping", 2.4 "Conditional blocks"; 3.1, 4.2 and 9.3 for
the files that are read a row at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST_WORDS = 64
MOST_BYTES = 2048 * 16
_ESCAPES = {" ": " ", "\\": "\\", "#": "#", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_SECTIONS = ("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist")


@dataclass(frozen=True, slots=True)
class Section:
    """A section: the words of its header, and those of each line in it."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def split_line(line: str) -> tuple[str, ...]:
    """The words of a line; none for an empty one and for a comment.

    Raises:
        ValueError: HAProxy refuses the line.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    at = 0
    while at < len(line):
        here = line[at]
        if here in "\x00\n\r":
            raise ValueError("a control character in a line")
        if quote == "'":
            if here == "'":
                quote = ""
            else:
                assert word is not None
                word.append(here)
        elif here == "\\":
            word = [] if word is None else word
            after = line[at + 1 : at + 2]
            if after in _ESCAPES and after:
                word.append(_ESCAPES[after])
                at += 1
            elif after == "x":
                word.append(chr(int(line[at + 2 : at + 4], 16)))
                at += 3
            elif after == "$" and quote:
                word.append("$")
                at += 1
            else:
                word.append(here)
        elif here == '"':
            word = [] if word is None else word
            quote = "" if quote else '"'
        elif quote:
            if here == "$":
                raise ValueError("an environment variable is put in")
            assert word is not None
            word.append(here)
        elif here == "'":
            word = [] if word is None else word
            quote = "'"
        elif here == "#":
            break
        elif here in " \t\v\f":
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [] if word is None else word
            word.append(here)
        at += 1
    if quote:
        raise ValueError("an open quote")
    if word is not None:
        words.append("".join(word))
    if len(words) > MOST_WORDS:
        raise ValueError("too many words")
    return tuple(words)


def read_program(text: str) -> tuple[Section, ...]:
    """The sections of a configuration.

    Raises:
        ValueError: HAProxy refuses a line, or a line stands in no section.
    """
    sections: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = []
    for line in text.split("\n"):
        words = split_line(line)
        if not words:
            continue
        if words[0].startswith("."):
            raise ValueError("a conditional block")
        if words[0] in _SECTIONS:
            sections.append((words, []))
        elif not sections:
            raise ValueError(f"{words[0]!r} stands in no section")
        else:
            sections[-1][1].append(words)
    return tuple(Section(header, tuple(lines)) for header, lines in sections)


def read_map(content: bytes, *, buffer_bytes: int = 16384) -> Iterator[tuple[str, str]]:
    """The rows of a map file; a line longer than the buffer is two.

    Raises:
        ValueError: A row has no value.
    """
    for line in content.split(b"\n"):
        for start in range(0, len(line), buffer_bytes - 1) or (0,):
            part = line[start : start + buffer_bytes - 1].decode("latin-1").lstrip(" \t")
            if not part or part.startswith("#"):
                continue
            cut = next((at for at, here in enumerate(part) if here in " \t\r"), len(part))
            key, value = part[:cut], part[cut:].strip(" \t\r")
            if not value:
                raise ValueError(f"no value for {key!r}")
            yield key, value
