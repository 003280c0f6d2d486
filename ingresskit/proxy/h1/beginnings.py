"""What can be said of a request head before it is whole: whether it can still become one.

A head that cannot is refused at once, and its client does not wait for the time-out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.message.head import BadRequest

if TYPE_CHECKING:
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["check_sizes", "judge_beginning"]

# Neither a line end nor allowed within a line (RFC 9110, 5.5). Some parsers end a line at one of them.
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def judge_beginning(data: bytes, settings: ProxySettings) -> None:
    """Refuse the beginning of a head that no further octets can make one.

    Args:
        data: All that was received of the head, not empty, without its end.
        settings: The limits.

    Raises:
        BadRequest: The head is too large, its lines do not end with CR LF, or it does not begin with the
            name of a method.

    Source: RFC 9112, sections 2.2 and 3.
    """
    if not 0x41 <= data[0] <= 0x5A:
        raise BadRequest(400, "The request line could not be read.")
    check_sizes(data, len(data), settings)
    if data.find(b"\n") < 0 and len(data) > settings.max_request_line_bytes:
        raise BadRequest(414, "")
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends:
        raise BadRequest(400, "The request has a bare LF.")
    if data.count(b"\r") - data.endswith(b"\r") != ends:
        raise BadRequest(400, "The request has a bare CR.")
    if _CONTROLS.search(data):
        raise BadRequest(400, "The request has a control character.")


def check_sizes(data: bytes, size: int, settings: ProxySettings) -> None:
    """Refuse a head of *size* octets, or a request line in *data*, that exceeds its limit.

    Raises:
        BadRequest: It does.
    """
    if size > settings.max_request_line_bytes and data.find(b"\n") > settings.max_request_line_bytes:
        raise BadRequest(414, "")
    if size > settings.max_header_bytes:
        raise BadRequest(431, "")
