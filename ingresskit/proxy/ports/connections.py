"""Connections as pool and limits see them, whichever protocol they speak."""

from __future__ import annotations

from typing import Protocol

from ingresskit.graph import Termination
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.ports.streams import Upstream

__all__ = ["ClientConnection", "ConnectFailed", "UpstreamConnection", "UpstreamPool"]


class ConnectFailed(Exception):
    """Raised when no connection to an endpoint could be made. Nothing was sent.

    Attributes:
        termination: Why, in a word.
        detail: What exactly, in fixed words or those of the operating system; may be empty.
    """

    def __init__(self, termination: Termination, detail: str = "") -> None:
        self.termination = termination
        self.detail = detail
        super().__init__(detail or str(termination))


class UpstreamConnection(Protocol):
    """A connection to an endpoint, as the pool sees it: it lends streams."""

    @property
    def endpoint(self) -> EndpointState:
        """Where it goes."""
        ...

    @property
    def server_name(self) -> str:
        """The TLS server name it was made with; empty for plain HTTP."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether it could lend another stream now."""
        ...

    @property
    def idle_since(self) -> float:
        """When a stream came back last, of the loop's clock."""
        ...

    def lend(self) -> Upstream | None:
        """A stream for one exchange; ``None``: the connection takes no more requests."""
        ...

    def retire(self) -> None:
        """Lend no more, and close after the last stream."""
        ...

    def abort(self) -> None:
        """Cut the connection, and report that to its exchanges."""
        ...


class UpstreamPool(Protocol):
    """Lends streams to endpoints, on connections that it makes and keeps."""

    def take(self, endpoint: EndpointState, server_name: str, *, repeatable: bool) -> Upstream | None:
        """A stream on a connection that stands, or ``None``.

        Args:
            endpoint: Where to.
            server_name: The TLS server name; empty for plain HTTP.
            repeatable: The request may be sent again if the connection turns out to be closing.
        """
        ...

    async def connect(self, endpoint: EndpointState, server_name: str, timeout: float) -> Upstream:  # noqa: ASYNC109
        """A stream on a new connection, made within *timeout* seconds.

        Raises:
            ConnectFailed: None could be made in time, or the address may not be connected to.
        """
        ...


class ClientConnection(Protocol):
    """A connection of a client, as limits and shutdown see it, whichever protocol it speaks."""

    @property
    def is_idle(self) -> bool:
        """Whether its client loses nothing when it ends."""
        ...

    def drain(self) -> None:
        """End with the present request; now when idle."""
        ...

    def give_up(self, reason: str) -> None:
        """End now to make room for others; *reason* is the limit that was reached."""
        ...

    def abort(self) -> None:
        """Cut it."""
        ...
