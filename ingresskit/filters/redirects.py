"""Responses of a route itself: to TLS, elsewhere, or a fixed status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, assert_never

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.policies import KeptTarget, Stage

__all__ = ["ActionFilter", "RedirectFilter", "TlsRedirectFilter"]


@dataclass(frozen=True, slots=True)
class TlsRedirectFilter:
    """Sends plain requests to the same URL over TLS. Where TLS is not served they go on."""

    stage: ClassVar[Stage] = Stage.TLS_REDIRECT

    status: int = 308
    keeps_slash: bool = True
    shows_port: bool = False

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.https or (location := request.secure_location) is None:
            return None
        if self.shows_port and location.startswith(f"https://{request.host}/"):
            location = f"https://{request.host}:443" + location[len(request.host) + 8 :]
        if not self.keeps_slash and not request.query and request.path != "/":
            location = location.removesuffix("/")
        return Reply(status=self.status, location=location, termination=None)


@dataclass(frozen=True, slots=True)
class RedirectFilter:
    """The redirect of a route, whose location depends on the request."""

    stage: ClassVar[Stage] = Stage.ACTION

    location: str
    status: int
    keeps: KeptTarget

    def request(self, request: RequestView, memory: Memory) -> Reply:
        """As `Filter.request`."""
        location = self.location
        scheme = "https" if request.https else "http"
        if location.startswith("///"):
            location = f"{scheme}://{(request.field(b'host') or b'').decode('latin-1')}{location[2:]}"
        elif location.startswith("//"):
            location = f"{scheme}:{location}"
        query = request.query.decode("latin-1")
        match self.keeps:
            case KeptTarget.NOTHING:
                pass
            case KeptTarget.QUERY:
                location += query
            case KeptTarget.PATH:
                location += request.path + query
            case _:
                assert_never(self.keeps)
        return Reply(status=self.status, location=location, termination=None)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """The response of a route that does not forward."""

    stage: ClassVar[Stage] = Stage.ACTION

    reply: Reply

    def request(self, request: RequestView, memory: Memory) -> Reply:
        """As `Filter.request`."""
        return self.reply
