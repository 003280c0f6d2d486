"""How large heads may be: as large as on every plane, whatever the buffers of ingress-nginx are."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.policies.dialects.ingress_nginx.values import parse_size

__all__ = ["LARGEST_RESPONSE_HEAD", "RESPONSE_HEAD_FAULT", "head_fault"]

LARGEST_RESPONSE_HEAD: Final = 16_384
"""Bytes of the head of a response that pass every plane."""

RESPONSE_HEAD_FAULT: Final = (
    "the head of a response may have 16 KiB on every plane; some planes respond 502 to more"
)
"""Why a larger buffer for it is not honoured."""

_LARGEST_FIELD: Final = 8192
_LARGEST_HEAD: Final = 32_768
_REQUEST_HEAD: Final = (
    "a header field of a request may have 8 KiB and its head 22 KiB on every plane; more is refused"
)


def head_fault(key: str, text: str) -> str:
    """Why a size in the ConfigMap asks for larger heads than pass; empty where it does not, or is no size.

    Args:
        key: Of the ConfigMap.
        text: Its value.
    """
    try:
        if key == "proxy-buffer-size":
            return RESPONSE_HEAD_FAULT if parse_size(text) > LARGEST_RESPONSE_HEAD else ""
        if key == "client-header-buffer-size":
            return _REQUEST_HEAD if parse_size(text) > _LARGEST_FIELD else ""
        if key == "large-client-header-buffers" and (found := re.fullmatch(r"([0-9]{1,5})\s+(\S+)", text)):
            size = parse_size(found[2])
            too_large = size > _LARGEST_FIELD or int(found[1]) * size > _LARGEST_HEAD
            return _REQUEST_HEAD if too_large else ""
    except ValueError:
        return ""
    return ""
