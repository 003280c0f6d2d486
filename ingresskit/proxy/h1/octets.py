"""The octets of HTTP/1.1 messages: heads and chunks.

What a codec owns (framing and the fields for one connection) is set last, so that nothing can take it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ingresskit.policies import ConnectionUse

if TYPE_CHECKING:
    from ingresskit.proxy.message.request import ForwardedRequest

__all__ = ["body_octets", "chunk", "request_octets"]

# Looking a member up on its class at every request costs more than the comparison.
_CLOSE: Final = ConnectionUse.CLOSE

_LAST_CHUNK: Final = b"0\r\n\r\n"
_NO_MORE: Final = b"0\r\n"


def chunk(payload: bytes) -> bytes:
    """*payload*, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def body_octets(payload: bytes, *, last: bool, trailers: bytes = b"") -> bytes:
    """A part of a chunked body; empty when *payload* is, and it is not the *last*.

    Args:
        payload: May be empty.
        last: The body ends with it.
        trailers: Field lines to send after the last chunk.
    """
    if not last:
        return chunk(payload) if payload else b""
    if trailers:
        return b"".join((chunk(payload) if payload else b"", _NO_MORE, trailers, b"\r\n"))
    return chunk(payload) + _LAST_CHUNK if payload else _LAST_CHUNK


def request_octets(request: ForwardedRequest, body: Sequence[bytes], *, last: bool) -> bytes:
    """A request to an endpoint: its head, and the present part of its body.

    Args:
        request: What to send.
        body: Pieces, none of them empty.
        last: The request ends with them.
    """
    head = request.head
    length = head.length
    framing = b""
    if length is None:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif head.has_length:
        framing = b"Content-Length: %d\r\n" % length
    if request.target.connection is _CLOSE:
        framing += b"Connection: close\r\n"
    elif head.upgrade and (upgrade := request.upgrade):
        framing += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    if head.expects_continue and length != 0:
        framing += b"Expect: 100-continue\r\n"
    if length is None:
        body = [*map(chunk, body), _LAST_CHUNK] if last else [*map(chunk, body)]
    return b"".join(
        (
            head.method,
            b" ",
            request.sent_path.encode("ascii"),
            request.sent_query,
            b" HTTP/1.0\r\nHost: " if request.target.http_1_0 else b" HTTP/1.1\r\nHost: ",
            request.wire_host,
            b"\r\n",
            *request.field_lines(),
            framing,
            b"\r\n",
            *body,
        )
    )
