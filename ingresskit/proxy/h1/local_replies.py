"""The octets of local replies: a status, and one line of text that reveals no backend."""

from __future__ import annotations

from http import HTTPStatus

from ingresskit.proxy.message.dates import http_date
from ingresskit.render.error_bodies import sentence as usual_sentence

__all__ = ["build_local_reply", "reason_phrase"]


def reason_phrase(status: int) -> str:
    """The name of a status, ``"Not Found"``; empty for one without a name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def build_local_reply(
    status: int,
    *,
    sentence: str = "",
    location: str = "",
    extra: tuple[tuple[bytes, bytes], ...] = (),
    head_only: bool = False,
    connection: bytes = b"",
) -> tuple[bytes, int]:
    """The octets of a local reply, and how many of them are body.

    Args:
        status: Its name is looked up.
        sentence: For the body; by default the usual one of the status.
        location: For the ``Location`` field; empty leaves it out.
        extra: Header fields to add.
        head_only: The request was HEAD: the length is said, the body is not sent.
        connection: For the ``Connection`` field; empty leaves it out.
    """
    phrase = reason_phrase(status)
    body = f"{sentence or usual_sentence(status)}\n".encode()
    lines = [f"HTTP/1.1 {status} {phrase}".encode(), b"Date: " + http_date()]
    if location:
        lines.append(b"Location: " + location.encode("ascii"))
    lines += [name + b": " + value for name, value in extra]
    if status == 204:
        head_only = True  # RFC 9110, 15.3.5
    else:
        lines.append(b"Content-Type: text/plain; charset=utf-8")
        lines.append(b"Content-Length: %d" % len(body))
    if connection:
        lines.append(b"Connection: " + connection)
    sent = b"" if head_only else body
    return b"\r\n".join(lines) + b"\r\n\r\n" + sent, len(sent)
