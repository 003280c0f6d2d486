"""The only door from text to HAProxy's configuration, its maps and its lists.

Three grammars, three writers. None of them escapes its way out of doubt: what a grammar cannot hold
is refused, since a checker that passes says nothing about which tenant a row then belongs to.

Source: HAProxy configuration manual, 2.2 "Quoting and escaping" and 2.5 "Limits"; `pat_ref` reading in
``src/pattern.c``; measured in November 2026: a row longer than the buffer is split in two on loading,
and the second half becomes a row of its own.
"""

from __future__ import annotations

import re
from typing import Final

from ingresskit.errors import RenderError

__all__ = ["MAX_ROW_BYTES", "map_line", "quote", "quote_format"]

MAX_ROW_BYTES: Final = 6000
"""The longest map row; less than half of the smallest buffer HAProxy reads rows with (16 KiB)."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.,:/@%+=*-]+")
_TEXT: Final = re.compile(r"[\x20-\x7e]*")
_KEY: Final = re.compile(r"(?!#)[\x21-\x7e]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def quote(text: str) -> str:
    """*text* as one word of the configuration: as it is where that is safe, else in single quotes.

    Inside single quotes HAProxy reads every character as itself; a single quote ends them, stands
    escaped, and opens them again.

    Raises:
        RenderError: It has a character that is not printable ASCII.
    """
    if _PLAIN.fullmatch(text):
        return text
    if not _TEXT.fullmatch(text):
        raise RenderError(f"{text!r} cannot be a word of HAProxy's configuration")
    return "'" + text.replace("'", "'\\''") + "'"


def quote_format(text: str) -> str:
    """The same where HAProxy reads a log format: ``%`` stands for itself.

    Raises:
        RenderError: As `quote`.
    """
    return quote(text.replace("%", "%%"))


def map_line(key: str, value: str) -> str:
    """A row of a map, without a line end: as it stands in the file and in the payload of the runtime API.

    Raises:
        RenderError: The key is empty, has white space or begins with ``#``; the value is empty or has
            white space at an end; either has a character that is not printable ASCII; or the row is
            longer than `MAX_ROW_BYTES`.
    """
    if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
        raise RenderError(f"a map cannot hold the row {key[:100]!r}, {value[:100]!r}")
    if len(key) + len(value) + 1 > MAX_ROW_BYTES:
        raise RenderError(f"the map row {key[:100]!r} is longer than {MAX_ROW_BYTES} bytes")
    return f"{key} {value}"
