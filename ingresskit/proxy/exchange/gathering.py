"""A request whose body is gathered before an endpoint gets any of it: it stands where its exchange will stand.

So an endpoint with few workers is not held by clients that upload slowly, and learns the length of a body that
did not say it. A body beyond the bound is streamed from there on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingresskit.proxy.message.head import ResponseHead
from ingresskit.proxy.ports.streams import NO_UPSTREAM

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.exchange import Exchange
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import Downstream

__all__ = ["Gathering"]

_SMALL_BODY: Final = 8192  # kept without being accounted for


class Gathering:
    """The `RequestReceiver` of a request until its body is complete, or as long as the route gathers.

    Args:
        runtime: What exchanges share.
        downstream: The client's stream.
        request: What will be forwarded.
        exchange: Which takes over then; it has not been started.

    Attributes:
        request_complete: The last byte of the request was received.
    """

    __slots__ = (
        "_downstream",
        "_exchange",
        "_kept",
        "_kept_size",
        "_most",
        "_request",
        "_runtime",
        "request_complete",
    )

    def __init__(
        self, runtime: Runtime, downstream: Downstream, request: ForwardedRequest, exchange: Exchange
    ) -> None:
        self._runtime = runtime
        self._downstream = downstream
        self._request = request
        self._exchange = exchange
        self._kept: list[bytes] = []
        self._kept_size = 0
        # A body that is too large is refused as soon as it is.
        limit = request.target.max_body_bytes
        most = request.target.gathered_bytes
        self._most: int = min(most, limit) if limit else most
        self.request_complete: bool = False

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request."""
        return self._kept_size

    def start(self, payload: bytes, *, complete: bool) -> None:
        """As `RequestReceiver`."""
        head = self._request.head
        if head.expects_continue and not complete:
            # The endpoint is not asked: it gets the body in any case.
            head.expects_continue = False
            self._downstream.send_interim(ResponseHead(100, b"Continue", False, b""), b"")
        self.request_data(payload, complete=complete)
        # Whoever kept it before, while a filter asked a question, may have had enough.
        self._downstream.resume_reading(NO_UPSTREAM)

    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """As `RequestReceiver`."""
        self.request_complete = complete
        if payload:
            self._kept.append(payload)
            self._kept_size += len(payload)
            if self._kept_size > _SMALL_BODY:
                self._downstream.recharge()
        if complete or self._kept_size > self._most or self._runtime.memory.is_scarce:
            self._go_on(complete=complete)

    def _go_on(self, *, complete: bool) -> None:
        payload = b"".join(self._kept)
        self._kept.clear()
        self._kept_size = 0
        head = self._request.head
        if complete and head.length is None:
            head.length = len(payload)
            head.has_length = True
        self._downstream.hand_over(self._exchange)
        self._exchange.start(payload, complete=complete)

    def client_lost(self) -> None:
        """As `RequestReceiver`."""
        self._exchange.client_lost()

    def client_timed_out(self) -> None:
        """As `RequestReceiver`."""
        self._exchange.client_timed_out()

    def client_write_paused(self) -> None:
        """Nothing is written meanwhile."""

    def client_write_resumed(self) -> None:
        """Nothing is written meanwhile."""

    def refuse(self, sentence: str) -> None:
        """As `RequestReceiver`."""
        self._exchange.refuse(sentence)
