"""Requests over TLS for hosts whose TLS does not end at the proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.policies import Stage

__all__ = ["PassedOnFilter"]


@dataclass(frozen=True, slots=True)
class PassedOnFilter:
    """Sends clients to a connection of their own: 421.

    A client of HTTP/2 sends requests for every host that the certificate of a connection is for over that
    connection (RFC 9113, section 9.1.1). The endpoint would not see such a request as TLS brings it there.
    """

    stage: ClassVar[Stage] = Stage.CERTIFICATE

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        return None if request.handshake is None else Reply(status=421)
