"""One request and its response: the stream of a client, and the stream to an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ingresskit.proxy.message.head import ResponseHead
from ingresskit.proxy.message.request import ForwardedRequest
from ingresskit.proxy.ports.tunnels import ByteEnd

__all__ = [
    "AHEAD",
    "NO_UPSTREAM",
    "UPSTREAM_WRITE_PAUSED",
    "Downstream",
    "RequestReceiver",
    "ResponseReceiver",
    "Upstream",
]

# Why a client is not read: bits of `Downstream.read_pauses`.
NO_UPSTREAM: Final = 1
"""The request has no upstream yet, and enough of its body waits for one."""
UPSTREAM_WRITE_PAUSED: Final = 2
"""The endpoint takes no more at the moment."""
AHEAD: Final = 4
"""The client sends its next request already."""


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
    def may_be_unprocessed(self) -> bool:
        """Whether its protocol lets an endpoint say that it did nothing about a request."""
        ...

    @property
    def unprocessed(self) -> bool:
        """Whether the endpoint said so of the present request: it may be sent again, whatever its method."""
        ...

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
