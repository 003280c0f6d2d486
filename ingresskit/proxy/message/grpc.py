"""What a request of gRPC says of how long it may take.

Source: gRPC, "PROTOCOL-HTTP2", Timeout.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ingresskit.render.grpc_status import is_grpc

if TYPE_CHECKING:
    from ingresskit.proxy.message.request import ForwardedRequest

__all__ = ["grpc_patience"]

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def grpc_patience(request: ForwardedRequest) -> tuple[bool, float | None]:
    """Whether *request*, whose client takes trailers, is one of gRPC, and its deadline in seconds.

    Returns:
        ``None`` for the deadline where it has none, or one that cannot be read, which is the endpoint's to
        refuse.
    """
    if not is_grpc(request.field(b"content-type")):
        return False, None
    found = _TIMEOUT.fullmatch(request.field(b"grpc-timeout") or b"")
    return True, None if found is None else int(found[1]) * _SECONDS[found[2]]
