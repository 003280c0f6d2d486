"""What a gRPC client is told instead of a status of HTTP.

A gRPC client reads ``grpc-status`` and has no use for a page. So local replies to one are 200 with that field
and no body, which HTTP/2 carries in one block of fields: "Trailers-Only".

Source: gRPC, "PROTOCOL-HTTP2" and "http-grpc-status-mapping"; that a silent endpoint is 4 and a body beyond its
limit is 8 is what the codes are for by "Status codes and their use in gRPC".
"""

from __future__ import annotations

import re
from typing import Final

from ingresskit.render.error_bodies import sentence

__all__ = ["GRPC_CONTENT", "GRPC_STATUSES", "OTHER_GRPC_STATUS", "grpc_message", "grpc_status", "is_grpc"]

GRPC_STATUSES: Final = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    408: 4,
    413: 8,
    429: 14,
    502: 14,
    503: 14,
    504: 4,
}
"""The ``grpc-status`` for local replies, by their status."""

OTHER_GRPC_STATUS: Final = 2
"""That of all others: UNKNOWN."""

GRPC_CONTENT: Final = "^application/grpc([+; ]|$)"
"""A regular expression for the content types of gRPC requests: not those of gRPC-Web, which is no HTTP/2."""

_CONTENT: Final = re.compile(rb"application/grpc(?:[+; ].*)?", re.IGNORECASE | re.DOTALL)


def is_grpc(content_type: bytes | None) -> bool:
    """Whether a request with that ``Content-Type`` is one of gRPC."""
    return content_type is not None and _CONTENT.fullmatch(content_type) is not None


def grpc_status(status: int) -> int:
    """The ``grpc-status`` for a local reply with *status*."""
    return GRPC_STATUSES.get(status, OTHER_GRPC_STATUS)


def grpc_message(status: int) -> str:
    """The ``grpc-message`` for a local reply with *status*: printable ASCII without ``%``."""
    return sentence(status)
