"""The one place that knows HTTP, as a protocol: everything above speaks to the cluster through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ingresskit.kube.resources import ListOptions, ResourceKind

__all__ = ["ByteStream", "Response", "Transport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A successful response.

    Attributes:
        status: 200 to 299; everything else is an exception.
        headers: By lower-case name.
        body: All of it, decompressed. Not in the ``repr``: it may hold Secrets.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)


class ByteStream(Protocol):
    """The body of an open watch as it arrives."""

    async def receive(self) -> bytes:
        """The next bytes, one or more; they may end in the middle of a line, or of a character.

        Waits as long as it takes: the deadline is the caller's (`LineReader` has one). Safe to cancel,
        after which the stream may only be closed.

        Raises:
            anyio.EndOfStream: The server ended the stream in good order.
            TransportError: The connection broke; what had arrived before was delivered before.
        """
        ...


class Transport(Protocol):
    """Speaks to one API server.

    What an implementation promises: a response other than 2xx is raised as `ApiError`; none is
    raised as `TransportError`, and every wait for one has a deadline; on 401 the credentials are
    renewed once and the request is made once more, after which it is `Unauthorized`; any call may be
    cancelled; calls may run at the same time. Nothing else is retried: what to do about an error is for
    the caller to say.
    """

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        """One page of a collection; *namespace* is empty for all namespaces.

        Raises:
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        ...

    def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AbstractAsyncContextManager[ByteStream]:
        """An open watch, for as long as the context lasts. Entering it waits for the server's headers.

        Raises:
            ApiError: The server refused, when entering.
            TransportError: There was no usable answer, when entering.
        """
        ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Any other request.

        Args:
            method: ``"GET"``, ``"PATCH"``…
            path: Percent-encoded and beginning with a slash, as `ResourceKind.path` gives it.
            query: Parameters, not yet encoded.
            headers: Beside the usual ones; ``Content-Type`` is JSON unless given here.
            body: Sent as it is.

        Raises:
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        ...
