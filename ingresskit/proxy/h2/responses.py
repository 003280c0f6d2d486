"""Responses of the core as fields of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ingresskit.proxy.message.dates import http_date
from ingresskit.render.error_bodies import sentence as usual_sentence
from ingresskit.render.grpc_status import grpc_status

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Fields

__all__ = ["local_reply", "response_fields", "split_lines"]

# They belong to a connection of HTTP/1.1; a policy may have set one (RFC 9113, 8.2.2).
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# Printable ASCII but "%" (gRPC, "PROTOCOL-HTTP2", Status-Message).
_IN_MESSAGES: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"
_KEPT_LINES: Final = 4096
_MOST_KEPT: Final = 64

# Endpoints say the same in one response after the other, but for its date: splitting costs more than a look-up.
_kept: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}


def split_lines(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Field lines of the core, each with its line end, as fields."""
    known = _kept.get(lines)
    if known is not None:
        return known
    fields: list[tuple[bytes, bytes]] = []
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and (lower := name.lower()) not in _CONNECTION_FIELDS:
            fields.append((lower, value.strip(b" \t")))
    found = tuple(fields)
    if len(lines) <= _KEPT_LINES:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[lines] = found
    return found


def response_fields(status: int, lines: bytes, extra: bytes, length: int | None) -> Fields:
    """The fields of a response.

    Args:
        status: For ``:status``.
        lines: Field lines that pass.
        extra: Field lines to add.
        length: For ``Content-Length``; ``None`` leaves it out.
    """
    fields = [(b":status", b"%d" % status), *split_lines(lines)]
    if extra:
        fields += split_lines(extra)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    return fields


def local_reply(
    status: int,
    *,
    sentence: str = "",
    location: str = "",
    extra: tuple[tuple[bytes, bytes], ...] = (),
    grpc: bool = False,
) -> tuple[Fields, bytes]:
    """The fields and the body of a response that the proxy makes by itself.

    Args:
        status: Of the response.
        sentence: For the body; by default the usual one of the status.
        location: For the ``Location`` field; empty leaves it out.
        extra: Fields to add.
        grpc: The client speaks gRPC; see `ingresskit.render.grpc_status`.
    """
    fields = [(b":status", b"%d" % status), (b"date", http_date())]
    if location:
        fields.append((b"location", location.encode("ascii")))
    fields += [(name.lower(), value) for name, value in extra]
    if status == 204:
        return fields, b""
    if grpc:
        code, message = grpc_status(status), sentence or usual_sentence(status)
        fields[0] = (b":status", b"200")
        fields += [
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", quote(message, safe=_IN_MESSAGES).encode("ascii")),
        ]
        return fields, b""
    body = f"{sentence or usual_sentence(status)}\n".encode()
    fields += [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    return fields, body
