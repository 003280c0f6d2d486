"""Where a message body ends: by a length, by chunks, or with the connection.

The chunk reader is ours and reads bytes, because the C parser does not say where in its input a
message ended, and because it lets through what others read differently. It accepts one spelling:
a size in hexadecimal, well-formed extensions (dropped), CR LF. Any doubt is an error, and the connection ends.

Source: RFC 9112, sections 6.3 and 7.1; CVE-2025-22871 and its kin (bare LF in chunk lines).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ingresskit.proxy.message.head import ResponseHead

__all__ = ["Body", "BodyError", "ChunkedBody", "LengthBody", "UntilClose", "request_body", "response_body"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_EXTENSION = rb";[\t ]*%b(?:[\t ]*=[\t ]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b(?:[\t ]*%b)*)?" % (_EXTENSION, _EXTENSION))
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_MAX_LINE_BYTES = 4096
# Extensions and trailers together, in one message: nobody needs them, and they cost as body bytes do.
_MAX_EXTRA_BYTES = 16384


class BodyError(ValueError):
    """Raised when the framing of a body is not exactly as RFC 9112 has it. Its text is a clause."""


class Body(Protocol):
    """Reads one body out of the bytes of a connection.

    Attributes:
        complete: Its last byte was read.
    """

    complete: bool

    @property
    def trailers(self) -> bytes:
        """The field lines after the body; empty before its end, and where there are none."""
        ...

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """The body bytes in *data*, and what follows the body (empty unless *complete*).

        Raises:
            BodyError: The framing is wrong; nothing of *data* may be used.
        """
        ...


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "complete")

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete: bool = length == 0

    @property
    def trailers(self) -> bytes:
        """As `Body.trailers`: none."""
        return b""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """As `Body.take`; hands *data* on as the same object when all of it is body."""
        size = len(data)
        left = self._left
        if size < left:
            self._left = left - size
            return data, b""
        self._left = 0
        self.complete = True
        if size == left:
            return data, b""
        return data[:left], data[left:]


class UntilClose:
    """A body that ends with the connection: never complete by itself."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete: bool = False

    @property
    def trailers(self) -> bytes:
        """As `Body.trailers`: none."""
        return b""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """As `Body.take`: all of it."""
        return data, b""


class ChunkedBody:
    """A chunked body, decoded. Extensions and trailers are checked and bounded, extensions dropped."""

    __slots__ = ("_ends_chunk", "_extra", "_held", "_in_trailers", "_left", "complete", "trailers")

    def __init__(self) -> None:
        self.complete: bool = False
        self._left = 0  # bytes of the present chunk still to come
        self._ends_chunk = False  # the CR LF after chunk data comes next
        self._in_trailers = False
        self._held = b""  # the beginning of a line, or of a CR LF
        self._extra = 0
        self.trailers: bytes = b""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """As `Body.take`."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._left:
                end = min(position + self._left, size)
                pieces.append(data[position:end])
                self._left -= end - position
                self._ends_chunk = not self._left
                position = end
            elif self._ends_chunk:
                found = data[position : position + 2]
                if found == b"\r\n":
                    self._ends_chunk = False
                    position += 2
                elif found == b"\r":
                    self._held = found
                    break
                else:
                    raise BodyError("has a chunk that does not end where its size says")
            else:
                end = data.find(b"\n", position)
                if end < 0:
                    if size - position > _MAX_LINE_BYTES:
                        raise BodyError("has a chunk line or trailer that is too long")
                    self._held = data[position:]
                    break
                if end == position or data[end - 1] != 0x0D or end - position > _MAX_LINE_BYTES:
                    raise BodyError("has a chunk line that does not end with CR LF, or is too long")
                self._line(data[position : end - 1])
                position = end + 1
                if self.complete:
                    break
        payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return payload, data[position:] if self.complete else b""

    def _line(self, line: bytes) -> None:
        if self._in_trailers:
            if not line:
                self.complete = True
                return
            if not _TRAILER.fullmatch(line):
                raise BodyError("has a wrong trailer")
            self._count(len(line) + 2)
            self.trailers += line + b"\r\n"
            return
        found = _CHUNK_LINE.fullmatch(line)
        if not found:
            raise BodyError("has a wrong chunk size")
        self._count(len(line) - len(found[1]))
        self._left = int(found[1], 16)
        self._in_trailers = not self._left

    def _count(self, size: int) -> None:
        self._extra += size
        if self._extra > _MAX_EXTRA_BYTES:
            raise BodyError("has too many bytes of chunk extensions and trailers")


def request_body(length: int | None) -> Body:
    """A reader for the body of a request of this `RequestHead.length`."""
    return ChunkedBody() if length is None else LengthBody(length)


def response_body(head: ResponseHead, *, head_only: bool) -> Body:
    """A reader for the body of a response (RFC 9112, 6.3); *head_only*: the request was HEAD."""
    if head_only or head.status in (204, 304):
        return LengthBody(0)
    if head.chunked:
        return ChunkedBody()
    return UntilClose() if head.length is None else LengthBody(head.length)
