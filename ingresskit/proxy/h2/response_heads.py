"""The heads of responses of an endpoint that speaks HTTP/2, as the core has them.

The engines check what they can; one of them leaves fields to us, so that all of it is judged here.

Source: RFC 9113, sections 8.1.1, 8.2.2 and 8.3.2.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.h2.fields import FieldFault, field_lines
from ingresskit.proxy.message.fields import (
    AUTHORIZATION,
    CODING,
    CONNECTION,
    HOP,
    LENGTH,
    ORDINARY,
    RESPONSE_KINDS,
    UPGRADE,
    authenticates_connection,
)
from ingresskit.proxy.message.head import BadResponse, ResponseHead

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Fields

__all__ = ["read_response", "read_trailers"]

_STATUS: Final = re.compile(rb"[1-5][0-9][0-9]")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_REASONS: Final = {item.value: item.phrase.encode("ascii") for item in HTTPStatus}
_NOT_IN_HTTP_2: Final = frozenset((CODING, CONNECTION, UPGRADE))


def read_response(fields: Fields, most: int) -> ResponseHead:
    """The head of a response, or of an interim one.

    Args:
        fields: All of them.
        most: How many there may be.

    Raises:
        BadResponse: Any doubt.
    """
    if len(fields) - 1 > most:
        raise BadResponse("too many header fields")
    if not fields or fields[0][0] != b":status" or not _STATUS.fullmatch(fields[0][1]):
        raise BadResponse("wrong status")
    passed: list[tuple[bytes, bytes]] = []
    length: int | None = None
    connection_auth = False
    for field in fields[1:]:
        kind = RESPONSE_KINDS[field[0]]
        if kind == ORDINARY:
            passed.append(field)
        elif kind == LENGTH:
            if length is not None or not _LENGTH.fullmatch(field[1]):
                raise BadResponse("wrong or second Content-Length")
            length = int(field[1])
        elif kind == AUTHORIZATION:
            connection_auth = connection_auth or authenticates_connection(field[1])
            passed.append(field)
        elif kind in _NOT_IN_HTTP_2:
            raise BadResponse("field that HTTP/2 does not have")
        elif kind != HOP:
            passed.append(field)
    try:
        lines = field_lines(passed)
    except FieldFault as exc:
        raise BadResponse(str(exc)) from None
    status = int(fields[0][1])
    head = ResponseHead(status, _REASONS.get(status, b""), False, lines)
    head.length = length
    head.connection_auth = connection_auth
    return head


def read_trailers(fields: Fields, most: int) -> bytes:
    """The lines of the fields after a body.

    Raises:
        BadResponse: Any doubt.
    """
    if len(fields) > most:
        raise BadResponse("too many trailers")
    try:
        return field_lines(fields)
    except FieldFault as exc:
        raise BadResponse(str(exc)) from None
