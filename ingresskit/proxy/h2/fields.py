"""Between the field lines of the core and the fields of HTTP/2.

The core passes on header fields as lines, since most requests come and go over HTTP/1.1; HTTP/2 has names in
lower case, and values that no line end may be in.

Source: RFC 9113, sections 8.2 and 8.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Fields

__all__ = ["FieldFault", "field_lines", "fields_of"]

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_NO_VALUE: Final = re.compile(rb"[\x00\r\n]")


class FieldFault(Exception):
    """Raised for a field that HTTP/2 does not allow. Its text is a noun phrase in fixed words."""


def fields_of(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields of *lines*, which were checked: pieces of any number of lines, each with its line end."""
    found: list[tuple[bytes, bytes]] = []
    for line in b"".join(lines).splitlines():
        name, _, value = line.partition(b":")
        found.append((name.lower(), value.strip(b" \t")))
    return found


def field_lines(fields: Fields) -> bytes:
    """The lines of *fields*, each with its line end.

    Raises:
        FieldFault: A name or a value cannot be one, or there is a pseudo-header field.
    """
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise FieldFault("malformed name of a field")
        if _NO_VALUE.search(value):
            raise FieldFault("malformed value of a field")
    return b"".join([b"%b: %b\r\n" % field for field in fields])
