"""Header fields set and removed, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import HeaderField, parse_header_names, parse_headers

__all__ = ["RequestHeaders", "ResponseHeaders"]

_HEADERS = "lines of `Name: value`, 64 and 8,192 characters at most"
_HEADER_NAMES = "header names separated by commas, 64 at most"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders(Policy):
    """Header fields of the request on its way to the endpoint.

    Attributes:
        set: These replace what the client sent under the same names.
        remove: These are taken out.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    set: tuple[HeaderField, ...] = annotated(
        "request-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the request.",
        secret=True,
        risk=Risk.MEDIUM,
    )
    remove: tuple[str, ...] = annotated(
        "request-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the request.",
        risk=Risk.MEDIUM,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHeaders(Policy):
    """Header fields of the response on its way to the client.

    Attributes:
        set: These replace what the endpoint sent under the same names.
        remove: These are taken out.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    set: tuple[HeaderField, ...] = annotated(
        "response-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the response.",
        secret=True,
        risk=Risk.MEDIUM,
    )
    remove: tuple[str, ...] = annotated(
        "response-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the response.",
        risk=Risk.MEDIUM,
    )
