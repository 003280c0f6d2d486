"""Bodies of locally generated responses: one line of text each, which never reveals a backend."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

__all__ = ["SENTENCES", "sentence"]

SENTENCES: Final = {
    400: "The request could not be understood.",
    403: "Access is not allowed from your address.",
    404: "Nothing is served here.",
    408: "The request did not arrive in time.",
    413: "The request body is too large.",
    414: "The request line is too long.",
    431: "The request header is too large.",
    500: "The proxy could not handle the request.",
    502: "The endpoint sent no valid response.",
    503: "No endpoint is available.",
    504: "The endpoint did not respond in time.",
}
"""The line of the body, by status; other statuses have their reason phrase."""


def sentence(status: int) -> str:
    """The line of text in the body of a local response with *status*."""
    if known := SENTENCES.get(status):
        return known
    try:
        return f"{HTTPStatus(status).phrase}."
    except ValueError:
        return f"Status {status}."
