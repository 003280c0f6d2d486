"""Responses of a route itself: to TLS, elsewhere, or a fixed status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.policies import Stage

__all__ = ["ActionFilter", "TlsRedirectFilter"]


@dataclass(frozen=True, slots=True)
class TlsRedirectFilter:
    """Sends plain requests to the same URL over TLS: 308. Where TLS is not served they go on."""

    stage: ClassVar[Stage] = Stage.TLS_REDIRECT

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.https or (location := request.secure_location) is None:
            return None
        return Reply(status=308, location=location, termination=None)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """The response of a route that does not forward."""

    stage: ClassVar[Stage] = Stage.ACTION

    reply: Reply

    def request(self, request: RequestView, memory: Memory) -> Reply:
        """As `Filter.request`."""
        return self.reply
