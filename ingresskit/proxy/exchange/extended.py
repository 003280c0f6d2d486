"""An exchange of a route that does more than forward: copies, pages of errors, compression, and pace.

Exchanges of all other routes are of the base class, and know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit.proxy.exchange.compression import GzipBody, may_vary, with_vary
from ingresskit.proxy.exchange.error_pages import PageExchange
from ingresskit.proxy.exchange.mirroring import GatheredCopy
from ingresskit.proxy.exchange.pacing import Pacer

if TYPE_CHECKING:
    from ingresskit.graph import Termination
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import Downstream
    from ingresskit.proxy.upstreams.balance import BackendState

__all__ = ["ExtendedExchange"]


class ExtendedExchange(PageExchange):
    """An exchange of a route with `Target.extended`."""

    __slots__ = ("_copy", "_gzip", "_pacer")

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: ForwardedRequest,
        state: BackendState | None,
        began: float,
        pages: BackendState | None,
        mirror: BackendState | None,
    ) -> None:
        """Begin the exchange.

        Args:
            runtime: What exchanges share.
            downstream: The client's stream.
            request: What the client wants.
            state: The backend that gets it; ``None``: none has an endpoint, and *pages* makes the response.
            began: When the request was received.
            pages: Makes pages of errors.
            mirror: Gets a copy of the request, where a Service does.
        """
        super().__init__(runtime, downstream, request, state, began, pages)
        policy = request.target.mirror
        self._copy = None if policy is None else GatheredCopy(runtime, request, policy, mirror)
        self._gzip: GzipBody | None = None
        self._pacer: Pacer | None = None

    @property
    @override
    def waiting_bytes(self) -> int:
        """As `Exchange.waiting_bytes`, and what is kept for a copy."""
        kept = super().waiting_bytes
        return kept if self._copy is None else kept + self._copy.size

    @override
    def start(self, payload: bytes, *, complete: bool) -> None:
        super().start(payload, complete=complete)
        self._gather(payload, complete=complete)

    @override
    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        if self._pacer is not None and self._upstream is None:
            self.request_complete = complete  # the response is, and only takes its time
            return
        super().request_data(payload, complete=complete, trailers=trailers)
        self._gather(payload, complete=complete)

    def _gather(self, payload: bytes, *, complete: bool) -> None:
        if (copy := self._copy) is None:
            return
        if self._finished and self._status < 200:
            copy.drop()  # refused, such as for its body
            return
        copy.take(payload, complete=complete)
        if copy.size:
            self._downstream.recharge()

    @override
    def _coded(
        self, head: ResponseHead, fields: bytes, extra: bytes, payload: bytes, *, complete: bool
    ) -> tuple[ResponseHead, bytes, bytes, bytes]:
        policy = self._request.target.compression
        if policy is not None and may_vary(policy, head):
            extra = with_vary(fields + extra)[len(fields) :]
            self._gzip = coder = GzipBody.for_response(policy, self._request.head, head)
            if coder is not None:
                head, fields = coder.head(head, fields)
                payload = coder.take(payload, last=complete)
        return head, fields, extra, payload

    @override
    def response_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        if self._gzip is not None:
            payload = self._gzip.take(payload, last=complete)
        super().response_data(payload, complete=complete, trailers=trailers)

    # The pace of a response.

    @override
    def _pass_on(self, payload: bytes, trailers: bytes, *, complete: bool) -> None:
        target = self._request.target
        if not target.response_rate:
            super()._pass_on(payload, trailers, complete=complete)
            return
        if (pacer := self._pacer) is None:
            pacer = self._pacer = Pacer(
                rate=target.response_rate,
                after=target.response_rate_after,
                send=self._part_due,
                drained=self._all_sent,
            )
        if complete:
            # The endpoint is done, however long it takes to send what it sent.
            self._release_upstream()
        pacer.take(payload, complete=complete, trailers=trailers)
        if pacer.is_full and self._upstream is not None:
            self._upstream.pause_reading()

    def _part_due(self, part: bytes, last: bool, trailers: bytes) -> None:
        self._runtime.deadlines.now()
        self._sent += len(part)
        self._downstream.send_data(part, last=last, trailers=trailers)
        if last and not self._finished:
            self._response_complete()

    def _all_sent(self) -> None:
        upstream = self._upstream
        if upstream is not None and not self._downstream.write_paused:
            upstream.resume_reading()
            upstream.expect_response(self._read_timeout)

    @override
    def client_write_paused(self) -> None:
        if self._pacer is not None:
            self._pacer.wait()
        super().client_write_paused()

    @override
    def client_write_resumed(self) -> None:
        if self._pacer is not None:
            self._pacer.run()
        else:
            super().client_write_resumed()

    @override
    def _end(self, status: int, termination: Termination | None = None, detail: str = "") -> None:
        if self._pacer is not None:
            self._pacer.close()
        super()._end(status, termination, detail)
