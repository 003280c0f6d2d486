"""Responses that are made smaller on their way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_choice, parse_integer

__all__ = ["COMPRESSED_TYPES", "Coding", "Compression", "parse_media_types"]

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_MOST_TYPES: Final = 64

COMPRESSED_TYPES: Final = (
    *("application/atom+xml", "application/javascript", "application/x-javascript", "application/json"),
    *("application/rss+xml", "application/vnd.ms-fontobject", "application/x-font-ttf"),
    *("application/x-web-app-manifest+json", "application/xhtml+xml", "application/xml", "font/opentype"),
    *("image/svg+xml", "image/x-icon", "text/css", "text/html", "text/javascript", "text/plain"),
    "text/x-component",
)
"""The media types that are compressed by default; those of ingress-nginx."""


class Coding(StrEnum):
    """How responses are compressed."""

    OFF = "off"
    GZIP = "gzip"


def parse_media_types(text: str) -> tuple[str, ...]:
    """Media types separated by commas, each once, in the order written; ``*`` alone is every type."""
    parts = text.strip().lower().split(",")
    types = tuple(dict.fromkeys(part.strip() for part in parts))
    if types == ("*",):
        return types
    if len(types) > _MOST_TYPES or not all(map(_TYPE.fullmatch, types)):
        raise ValueError(f"must be media types separated by commas, {_MOST_TYPES} at most, or *")
    return types


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression(Policy):
    """Compress responses for clients that accept it.

    Compressed are responses with the status 200, 403 or 404, one of the media types and a body of the minimum
    length at least, or of unknown length. Those that have a coding already, are a part (a range), forbid it
    (``Cache-Control: no-transform``) or state a digest of their body pass as they are. An ``ETag`` becomes
    weak, and ``Vary: Accept-Encoding`` is added. What comes from the endpoint in pieces is sent in pieces.

    The length of a compressed response tells something of its content, over TLS too: where a response holds
    both a secret and what another site can put into the request, that secret can be guessed from many of them
    (BREACH). Leave such routes out.

    Attributes:
        coding: ``off`` compresses nothing.
        types: Lower case; ``*`` alone is every type.
        min_length: In bytes, of the body before.
        level: 1 is fastest, 9 makes the smallest.
    """

    stage: ClassVar[Stage] = Stage.UPSTREAM

    coding: Coding = annotated(
        "compression",
        parse_choice(Coding),
        default=Coding.OFF,
        grammar="`gzip` or `off`",
        summary="Compress responses for clients that accept it.",
    )
    types: tuple[str, ...] = annotated(
        "compression-types",
        parse_media_types,
        default=COMPRESSED_TYPES,
        grammar="media types separated by commas, or `*`",
        summary="The media types that are compressed.",
    )
    min_length: int = annotated(
        "compression-min-length",
        parse_integer(0, 1_073_741_824),
        default=256,
        grammar="a number of bytes, 0 to 1073741824",
        summary="Shorter bodies are not compressed, where their length is known.",
    )
    level: int = annotated(
        "compression-level",
        parse_integer(1, 9),
        default=1,
        grammar="a whole number, 1 to 9",
        summary="1 is fastest, 9 makes the smallest.",
    )
