"""What single fields of a request mean to a proxy, whichever protocol carried them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.message.head import BadRequest

if TYPE_CHECKING:
    from ingresskit.proxy.message.head import RequestHead

__all__ = ["REQUEST_ID_FORM", "judge_max_forwards"]

REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._=+/:@-]{1,128}")
"""What an ``X-Request-ID`` of a client must match to be passed on."""

_FORWARDS: Final = re.compile(rb"[0-9]{1,9}")


def judge_max_forwards(head: RequestHead, name: bytes, value: bytes) -> bytes:
    """Note what a ``Max-Forwards`` says; the field line that passes, with its line end.

    RFC 9110, 7.6.2: it is counted down for OPTIONS, and passed on as it is for all methods but that and TRACE.

    Raises:
        BadRequest: It is no number, or the second one, and the method is OPTIONS.
    """
    if head.method != b"OPTIONS":
        head.max_forwards = -1
        return b"%b: %b\r\n" % (name, value)
    if head.max_forwards is not None or not _FORWARDS.fullmatch(value):
        raise BadRequest(400, "The Max-Forwards is not a number.")
    head.max_forwards = int(value)
    return b"Max-Forwards: %d\r\n" % max(0, head.max_forwards - 1)
