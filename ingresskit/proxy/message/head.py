"""Heads of messages that passed all checks, whichever protocol carried them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ingresskit.proxy.message.fields import Field

__all__ = ["BadRequest", "BadResponse", "RequestHead", "ResponseHead"]


class BadRequest(Exception):
    """Raised when a request is refused unread. Its text is one sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class BadResponse(Exception):
    """Raised when the framing of a response cannot be trusted. Its text is a noun phrase in fixed words."""


class RequestHead:
    """A request that passed all checks.

    Attributes:
        method: Upper-case letters, ``-`` and ``_``, at most 32; never CONNECT or TRACE.
        target: As sent: printable ASCII, begins with ``/``, is absolute (`host` agrees with it then), or is
            ``*``.
        is_http_1_0: The client speaks HTTP/1.0.
        host: The value of the one ``Host`` field.
        length: Of the body; 0 without one; ``None`` when only its end says (chunked).
        keep_alive: The client wants to go on after the response.
        fields: The lines of all others, as sent, each with its line end, in order; without hop-by-hop
            and proxy-owned ones.
        client_fields: What the peer says about who the client is.
        has_length: There was a ``Content-Length``.
        takes_trailers: The client understands trailers (``TE: trailers``).
        upgrade: The protocol asked for, or empty.
        expects_continue: The client waits for a 100 before it sends the body.
        request_id: The client's ``X-Request-ID``, if it is a decent one; else empty.
        connection_auth: NTLM and Negotiate authenticate the connection, so that to the endpoint must not be
            reused for another client.
        max_forwards: How many proxies may still pass an OPTIONS request on, this one included; -1 for other
            methods with the field; ``None`` without it.
        protocol: What the client speaks, as access logs have it; a codec of another protocol has a subclass.
    """

    protocol: ClassVar[str] = "HTTP/1.1"

    __slots__ = (
        "client_fields",
        "connection_auth",
        "expects_continue",
        "fields",
        "has_length",
        "host",
        "is_http_1_0",
        "keep_alive",
        "length",
        "max_forwards",
        "method",
        "request_id",
        "takes_trailers",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, is_http_1_0: bool, fields: bytes) -> None:
        self.method: bytes = method
        self.target: bytes = target
        self.is_http_1_0: bool = is_http_1_0
        self.host: bytes = b""
        self.length: int | None = 0
        self.keep_alive: bool = not is_http_1_0
        self.fields: bytes = fields
        self.client_fields: tuple[Field, ...] = ()
        self.has_length: bool = False
        self.upgrade: bytes = b""
        self.expects_continue: bool = False
        self.request_id: bytes = b""
        self.connection_auth: bool = False
        self.max_forwards: int | None = None
        self.takes_trailers: bool = False


class ResponseHead:
    """A response of an endpoint that passed all checks.

    Attributes:
        status: 100 to 599.
        is_http_1_0: The endpoint speaks HTTP/1.0.
        length: Of the body; ``None`` when unknown.
        chunked: The body is; never with *length*.
        keep_alive: The endpoint goes on after the response.
        fields: The lines, as sent, each with its line end, in order, without hop-by-hop ones. Framing is
            not among them.
        upgrade: The protocol switched to, when *status* is 101; the protocols to ask for, when it is 426.
        connection_auth: As `RequestHead.connection_auth`.
    """

    __slots__ = (
        "chunked",
        "connection_auth",
        "fields",
        "is_http_1_0",
        "keep_alive",
        "length",
        "reason",
        "status",
        "upgrade",
    )

    def __init__(self, status: int, reason: bytes, is_http_1_0: bool, fields: bytes) -> None:
        self.status: int = status
        self.reason: bytes = reason
        self.is_http_1_0: bool = is_http_1_0
        self.length: int | None = None
        self.chunked: bool = False
        self.keep_alive: bool = not is_http_1_0
        self.fields: bytes = fields
        self.upgrade: bytes = b""
        self.connection_auth: bool = False

    def copy(self) -> ResponseHead:
        """The same head, to be changed: readers give one head to many responses that say the same."""
        made = ResponseHead(self.status, self.reason, self.is_http_1_0, self.fields)
        made.length = self.length
        made.chunked = self.chunked
        made.keep_alive = self.keep_alive
        made.upgrade = self.upgrade
        made.connection_auth = self.connection_auth
        return made
