"""What proxies say when they answer by themselves: one line of text, nothing about what stands behind."""

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
    502: "The service did not give a proper answer.",
    503: "No endpoint is available.",
    504: "The service did not answer in time.",
}
"""What stands in the body, by status; other statuses say their name."""


def sentence(status: int) -> str:
    """What stands in the body of an answer with that status."""
    if known := SENTENCES.get(status):
        return known
    try:
        return f"{HTTPStatus(status).phrase}."
    except ValueError:
        return f"Status {status}."
