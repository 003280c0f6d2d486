"""The ports between the core and the protocols that carry its messages.

```text
client ══ Downstream ──reports to──► RequestReceiver ┐
                                                     ├─ one exchange ─ lends from ─► UpstreamPool
endpoint ══ Upstream ──reports to──► ResponseReceiver┘
```

A codec (`ingresskit.proxy.h1`) implements `Downstream`, `Upstream` and `UpstreamConnection`, and reports to
the receivers; the core (`ingresskit.proxy.exchange`) does the reverse and writes no octets of any protocol.

- A `Downstream` and an `Upstream` are one *stream* each: one request and its response. On an HTTP/1.1
  connection there is one at a time, on a connection that multiplexes there are many.
- Each direction of a stream ends by itself (``complete`` and ``last``): a response may end before its request,
  and a request before its response begins.
- Trailers stand beside the last data. Interim responses come before the response, any number of them.
- Header fields are the lines of HTTP/1, each with its line end: they pass between two HTTP/1.1 connections
  unread, and another codec splits them. Framing and fields for one connection are not among them; a codec
  adds its own.
- All calls are made on the event loop's thread, and may be answered by calls in the other direction before
  they return.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ingresskit.graph import Termination
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.message.head import ResponseHead
from ingresskit.proxy.message.request import ForwardedRequest

__all__ = [
    "AHEAD",
    "NO_UPSTREAM",
    "UPSTREAM_WRITE_PAUSED",
    "ByteEnd",
    "ByteReceiver",
    "ClientConnection",
    "ConnectFailed",
    "Downstream",
    "RequestReceiver",
    "ResponseReceiver",
    "Upstream",
    "UpstreamConnection",
    "UpstreamPool",
]

# Why a client is not read: bits of `Downstream.read_pauses`.
NO_UPSTREAM: Final = 1
"""The request has no upstream yet, and enough of its body waits for one."""
UPSTREAM_WRITE_PAUSED: Final = 2
"""The endpoint takes no more at the moment."""
AHEAD: Final = 4
"""The client sends its next request already."""


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


class RequestReceiver(Protocol):
    """Receives one request of a client: what a `Downstream` reports to.

    Attributes:
        request_complete: The last byte of the request was received.
    """

    request_complete: bool

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request in memory."""
        ...

    def start(self, payload: bytes, *, complete: bool) -> None:
        """The request begins: its head was admitted, *payload* is the present part of its body."""
        ...

    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """More of the body; *complete* with the last byte of the request.

        Args:
            payload: May be empty.
            complete: The client's direction of the stream has ended.
            trailers: Field lines after the body; only with *complete*.
        """
        ...

    def refuse(self, sentence: str) -> None:
        """The rest of the request is malformed; *sentence* is for the client."""
        ...

    def client_lost(self) -> None:
        """The stream is gone in both directions."""
        ...

    def client_timed_out(self) -> None:
        """The client did not send its body in time."""
        ...

    def client_write_paused(self) -> None:
        """The client takes no more at the moment."""
        ...

    def client_write_resumed(self) -> None:
        """Undo `client_write_paused`."""
        ...


class Downstream(Protocol):
    """One request stream of a client, as the core sees it.

    Attributes:
        write_paused: The client takes no more at the moment.
        read_pauses: Why the client is not read at the moment; 0 when it is.
        given_up: It is cut to make room for others.
        timed_out: It took nothing for too long, and is cut.
    """

    write_paused: bool
    read_pauses: int
    given_up: bool
    timed_out: bool

    def has_left(self) -> bool:
        """Whether the client closed the connection, also while it is not read."""
        ...

    def send_interim(self, head: ResponseHead, fields: bytes) -> None:
        """Send an interim (1xx) response; dropped where the client's protocol has none."""
        ...

    def send_head(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes, *, last: bool) -> None:
        """Send the head of the response and the present part of its body, in one write.

        Args:
            head: Its status, reason and framing count.
            fields: The field lines of *head* that pass.
            extra: Field lines to add.
            data: The present part of the body; may be empty.
            last: The response ends with it.
        """
        ...

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """Send more of the body; the response ends with the *last* of it.

        Args:
            data: May be empty.
            last: The proxy's direction of the stream ends.
            trailers: Field lines to send after the body, where protocol and client take them; only with *last*.
        """
        ...

    def send_local_reply(
        self,
        status: int,
        *,
        sentence: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> int:
        """Send a whole response of the proxy's own; returns how many bytes of body were sent.

        Args:
            status: Of the response.
            sentence: For the body; empty is the usual one of the status.
            location: For the ``Location`` field; empty leaves it out.
            fields: Further fields.
        """
        ...

    def upgrade(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes) -> ByteEnd:
        """Send a 101 and *data* after it; the stream as an end of a tunnel. No more is reported.

        Args:
            head: Its status, reason and protocol count.
            fields: The field lines of *head* that pass.
            extra: Field lines to add.
            data: First bytes of the tunnel; may be empty.
        """
        ...

    def pause_reading(self, reason: int) -> None:
        """Read no more of the request, for one more *reason*."""
        ...

    def resume_reading(self, reason: int) -> None:
        """Take *reason* back; the client is read again when it was the only one."""
        ...

    def recharge(self) -> None:
        """Account for `RequestReceiver.waiting_bytes`, which changed; may cut this client, or another one."""
        ...

    def hand_over(self, receiver: RequestReceiver) -> None:
        """From now on report the present request to *receiver*."""
        ...

    def finish(self) -> None:
        """The exchange is over: response (or local reply) and records are complete.

        A request that is not complete then is never read to its end.
        """
        ...

    def reset(self) -> None:
        """Cut the stream: the only way to say that a response that has begun is not whole."""
        ...


class ResponseReceiver(Protocol):
    """Receives one response of an endpoint: what an `Upstream` reports to.

    Attributes:
        head_only: The request is HEAD: its response has no body.
    """

    head_only: bool

    def interim_response(self, head: ResponseHead) -> None:
        """An interim (1xx) response other than 101."""
        ...

    def response(self, head: ResponseHead, payload: bytes, *, complete: bool) -> None:
        """The head of the response, and the present part of its body."""
        ...

    def response_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """More of the body; *complete* with the last byte of the response.

        Args:
            payload: May be empty.
            complete: The endpoint's direction of the stream has ended.
            trailers: Field lines after the body; only with *complete*.
        """
        ...

    def response_broken(self, clause: str) -> None:
        """The response is malformed or its framing cannot be trusted."""
        ...

    def switch_protocols(self, head: ResponseHead, data: bytes) -> None:
        """The endpoint responded 101; *data* follows its head."""
        ...

    def endpoint_lost(self, upstream: Upstream) -> None:
        """The stream ended before the response was complete."""
        ...

    def endpoint_timed_out(self) -> None:
        """The time of `Upstream.expect_response` is over."""
        ...

    def endpoint_write_paused(self) -> None:
        """The endpoint takes no more at the moment."""
        ...

    def endpoint_write_resumed(self) -> None:
        """Undo `endpoint_write_paused`."""
        ...


class Upstream(Protocol):
    """One request stream to an endpoint, lent by the pool for one exchange.

    Attributes:
        reused: The connection carried a request before.
        received_any: Something was received for the present request.
    """

    reused: bool
    received_any: bool

    @property
    def unsent_bytes(self) -> int:
        """What waits in memory to be sent."""
        ...

    def send_request(
        self,
        receiver: ResponseReceiver,
        request: ForwardedRequest,
        body: Sequence[bytes],
        *,
        last: bool,
        timeout: float,
    ) -> None:
        """Send the head of a request and the present part of its body, in one write.

        Args:
            receiver: Of the response.
            request: Where it goes and what it says.
            body: Pieces, none of them empty.
            last: The request ends with them.
            timeout: Seconds, as for `expect_response`.
        """
        ...

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """Send more of the body; the request ends with the *last* of it.

        Args:
            data: May be empty.
            last: The proxy's direction of the stream ends; the endpoint's goes on.
            trailers: Field lines to send after the body, where the protocol has them; only with *last*.
        """
        ...

    def expect_response(self, timeout: float) -> None:
        """Expect something of the endpoint within *timeout* seconds from now, or never (`NEVER`)."""
        ...

    def pause_reading(self) -> None:
        """Take no more of the response; `expect_response` counts no longer."""
        ...

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        ...

    def upgrade(self) -> ByteEnd:
        """The stream as an end of a tunnel, after `ResponseReceiver.switch_protocols`; no more is reported."""
        ...

    def release(self, *, reusable: bool) -> None:
        """Give the stream back to its connection; nothing more is reported.

        Args:
            reusable: Request and response are complete, so the connection may carry another request, if it
                is of the same opinion.
        """
        ...

    def reset(self) -> None:
        """Cut the stream; nothing more is reported."""
        ...


class ByteReceiver(Protocol):
    """Receives the bytes of one end of a tunnel: what a `ByteEnd` reports to."""

    def received(self, data: bytes) -> None:
        """Bytes of this end."""
        ...

    def ended(self) -> bool:
        """This end sends no more. Whether its connection stays open for the other direction."""
        ...

    def lost(self) -> None:
        """This end is gone."""
        ...

    def write_paused(self) -> None:
        """This end takes no more at the moment."""
        ...

    def write_resumed(self) -> None:
        """Undo `write_paused`."""
        ...


class ByteEnd(Protocol):
    """One end of a tunnel, whichever protocol is below it."""

    def start(self, receiver: ByteReceiver) -> None:
        """Begin to report to *receiver*: what came early, and perhaps the end, before this returns."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def pause(self) -> None:
        """Read no more."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def end(self) -> bool:
        """Send no more; whether that is possible, and the other direction still open."""
        ...

    def close(self) -> None:
        """End both directions when what is written has been sent."""
        ...

    def abort(self) -> None:
        """End both directions now."""
        ...


class UpstreamConnection(Protocol):
    """A connection to an endpoint, as the pool sees it: it lends streams.

    Attributes:
        endpoint: Where it goes.
        server_name: The TLS server name it was made with; empty for plain HTTP.
        has_room: It could lend another stream now.
        idle_since: When the last stream came back, of the loop's clock.
    """

    endpoint: EndpointState
    server_name: str
    has_room: bool
    idle_since: float

    def lend(self) -> Upstream | None:
        """A stream for one exchange; ``None``: the connection takes no more requests."""
        ...

    def retire(self) -> None:
        """Lend no more, and close after the last stream."""
        ...

    def abort(self) -> None:
        """Cut the connection; its exchanges are told."""
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
