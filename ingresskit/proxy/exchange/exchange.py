"""One forwarded request and its response.

How it ends, and what becomes of the two streams then: see `ingresskit.proxy.exchange.endings`.

Nothing here knows the protocol of either side: see `ingresskit.proxy.ports`.
"""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingresskit.facts import fact_logger
from ingresskit.filters import UNCHANGED
from ingresskit.graph import Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.endings import Endings
from ingresskit.proxy.exchange.tunnel import Tunnel
from ingresskit.proxy.message.fields import safe_trailers, without
from ingresskit.proxy.message.grpc import grpc_patience
from ingresskit.proxy.message.views import EndpointResponse
from ingresskit.proxy.ports.streams import NO_UPSTREAM, UPSTREAM_WRITE_PAUSED

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import Downstream, Upstream
    from ingresskit.proxy.upstreams.balance import BackendState

__all__ = ["Exchange"]

_logger = fact_logger(__name__)

_SMALL_BODY: Final = 8192  # kept for another attempt without being accounted for


class Exchange(Endings):
    """A request on its way to an endpoint, and its response on the way back.

    It is the `RequestReceiver` of its downstream and the `ResponseReceiver` of its upstream.

    Attributes:
        head_only: The request is HEAD: its response has no body.
    """

    __slots__ = (
        "_body_size",
        "_kept",
        "_kept_size",
        "_patience",
        "_read_timeout",
        "_trailers",
        "head_only",
    )

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: ForwardedRequest,
        state: BackendState,
        began: float,
    ) -> None:
        super().__init__(runtime, downstream, request, state, began)
        self.head_only: bool = request.head.method == b"HEAD"
        timeout = request.target.read_timeout
        self._read_timeout: float = runtime.timeouts.read if timeout is None else timeout
        self._patience: float | None = request.target.request_timeout
        if request.head.takes_trailers:
            self._heed_grpc()
        # The body while it may have to be sent (again).
        self._kept: list[bytes] = []
        self._kept_size: int = 0
        self._trailers: bytes = b""
        self._body_size: int = 0
        self.request_complete: bool = False
        self.response_started: bool = False
        self._status: int = 0
        self._sent: int = 0
        self._first_byte: float | None = None
        self._timer: TimerHandle | None = None

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request: for another attempt, and for an endpoint that takes nothing."""
        upstream = self._upstream
        if upstream is None or not self._downstream.read_pauses & UPSTREAM_WRITE_PAUSED:
            return self._kept_size
        return self._kept_size + upstream.unsent_bytes

    # What the client does.

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Send the request, and the present part of its body."""
        if (seconds := self._patience) is not None:
            self._timer = get_running_loop().call_later(seconds, self._out_of_time)
        if payload:
            if not self._within_limit(payload):
                return
            self._keep(payload)
        self.request_complete = complete
        self._try()

    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """Send more of the request's body, *complete* with its last byte."""
        if self._finished or (payload and not self._within_limit(payload)):
            return
        self.request_complete = complete
        upstream = self._upstream
        if trailers:
            self._trailers = trailers
        if upstream is None:
            self._keep(payload)
            if self._kept_size > self._runtime.settings.buffer_bytes and not complete:
                self._downstream.pause_reading(NO_UPSTREAM)
            return
        if payload and not self._body_discarded:
            runtime = self._runtime
            if self._kept_size + len(payload) > runtime.settings.buffer_bytes or runtime.memory.is_scarce:
                self._discard_body()
            else:
                self._keep(payload)
        upstream.send_data(payload, last=complete, trailers=trailers)
        if complete:
            upstream.expect_response(self._read_timeout)

    def client_timed_out(self) -> None:
        """The client did not send its body in time."""
        self._fail(408, Termination.CLIENT_TIMEOUT)

    def client_write_paused(self) -> None:
        """The client takes nothing at the moment: read nothing for it."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def client_write_resumed(self) -> None:
        """Undo `client_write_paused`."""
        if self._upstream is not None:
            self._upstream.resume_reading()
            if self.request_complete or self.response_started:
                self._upstream.expect_response(self._read_timeout)

    def refuse(self, sentence: str) -> None:
        """The rest of the request is malformed: respond 400, or cut when a response has begun."""
        self._fail(400, Termination.BAD_REQUEST, sentence, sentence=sentence)

    # What the endpoint does.

    def interim_response(self, head: ResponseHead) -> None:
        """An interim response: a sign of life. Clients that understand it get it."""
        if self.request_complete and self._upstream is not None and not self._downstream.write_paused:
            self._upstream.expect_response(self._read_timeout)
        if head.status == 100:
            if self._request.head.expects_continue:
                self._downstream.send_interim(head, b"")
        elif head.status in (102, 103):
            self._downstream.send_interim(head, self._edited(head, interim=True)[0])

    def response(self, head: ResponseHead, payload: bytes, *, complete: bool) -> None:
        """The head of the response, and the present part of its body: in one write."""
        if (
            (rule := self._rule) is not None
            and head.status in rule.statuses
            and self._elsewhere(reusable=complete)
        ):
            return
        fields, extra = head.fields, b""
        request = self._request
        target = request.target
        if target.response is not None or request.responses or self._cookie_line:
            try:
                fields, extra = self._edited(head)
                head, fields, extra, payload = self._coded(head, fields, extra, payload, complete=complete)
            except Exception:
                _logger.exception("a filter failed", extra={"host": target.host})
                self._fail(500, Termination.INTERNAL)
                return
        self._status = head.status
        if not complete:
            self._first_byte = self._runtime.deadlines.recent
        self.response_started = True
        if target.response_rate and payload:
            self._downstream.send_head(head, fields, extra, b"", last=False)
            self._pass_on(payload, b"", complete=complete)
            return
        self._sent = len(payload)
        self._downstream.send_head(head, fields, extra, payload, last=complete)
        if complete:
            self._response_complete()
        elif self._upstream is not None and not self._downstream.write_paused:
            self._upstream.expect_response(self._read_timeout)

    def response_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """More of the response's body, *complete* with its last byte."""
        if trailers:
            trailers = self._passing_trailers(trailers)
        self._pass_on(payload, trailers, complete=complete)

    def _pass_on(self, payload: bytes, trailers: bytes, *, complete: bool) -> None:
        """Send a part of the body; a subclass may take its time."""
        self._sent += len(payload)
        self._downstream.send_data(payload, last=complete, trailers=trailers)
        if self._finished:
            return
        if complete:
            self._response_complete()
        elif self._upstream is not None and not self._downstream.write_paused:
            self._upstream.expect_response(self._read_timeout)

    def response_broken(self, clause: str) -> None:
        """The upstream response is malformed or its framing cannot be trusted."""
        self._attempt_failed(Termination.UPSTREAM_MALFORMED, clause)
        if (rule := self._rule) is not None and rule.malformed and self._elsewhere():
            return
        self._fail(502, Termination.UPSTREAM_MALFORMED, clause)

    def switch_protocols(self, head: ResponseHead, data: bytes) -> None:
        """The endpoint responded 101: from now on bytes pass both ways, if that is what was asked for."""
        asked = self._request.upgrade
        upstream = self._upstream
        if not asked or head.upgrade.lower() != asked.lower() or upstream is None:
            self.response_broken("switch to a protocol that was not asked for")
            return
        fields, extra = self._edited(head)
        self.response_started = True
        self._status = 101
        runtime = self._runtime
        self._first_byte = runtime.deadlines.recent
        self._upstream = None
        tunnel = Tunnel(runtime.deadlines, runtime.counters, self._read_timeout, self._release_endpoint)
        endpoint = upstream.upgrade()
        self._end(101)
        tunnel.join(self._downstream.upgrade(head, fields, extra, data), endpoint)

    def endpoint_lost(self, upstream: Upstream) -> None:
        """The stream ended before the response did."""
        if upstream is not self._upstream or self._finished:
            return
        self._upstream = None
        if self.response_started:
            self._attempt_failed(Termination.UPSTREAM_TRUNCATED)
            self._cut(Termination.UPSTREAM_TRUNCATED)
            return
        unprocessed = upstream.unprocessed
        if (self._repeatable or unprocessed) and not upstream.received_any and not self._body_discarded:
            if (upstream.reused or unprocessed) and self._stale_retries:
                self._reconnect()
                return
            self._attempt_failed(Termination.UPSTREAM_CLOSED)
            if (self._rule is None or self._rule.error) and self._next_endpoint():
                return
        else:
            self._attempt_failed(Termination.UPSTREAM_CLOSED)
        self._fail(502, Termination.UPSTREAM_CLOSED)

    def endpoint_timed_out(self) -> None:
        """The endpoint neither took nor sent anything for too long."""
        late = Termination.UPSTREAM_READ_TIMEOUT
        if self._downstream.read_pauses & UPSTREAM_WRITE_PAUSED:
            late = Termination.UPSTREAM_SEND_TIMEOUT
        self._attempt_failed(late)
        if (rule := self._rule) is not None and rule.timeout and self._elsewhere():
            return
        self._fail(504, late)

    def endpoint_write_paused(self) -> None:
        """The endpoint takes nothing at the moment: read no more of the request."""
        self._downstream.pause_reading(UPSTREAM_WRITE_PAUSED)
        if self._upstream is not None:
            timeout = self._request.target.send_timeout
            self._upstream.expect_response(self._runtime.timeouts.send if timeout is None else timeout)

    def endpoint_write_resumed(self) -> None:
        """Undo `endpoint_write_paused`."""
        self._downstream.resume_reading(UPSTREAM_WRITE_PAUSED)
        if self._upstream is not None and not self._finished:
            self._upstream.expect_response(self._read_timeout if self.request_complete else NEVER)

    def _elsewhere(self, *, reusable: bool = False) -> bool:
        """Try another endpoint instead of passing on what this one did; whether that is possible.

        Args:
            reusable: The response is complete, so that the next request may use its connection.
        """
        if self.response_started or not self._repeatable or self._body_discarded:
            return False
        if not self._has_next_endpoint():
            return False
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if reusable and self.request_complete and not self._used_once():
                upstream.release(reusable=True)
            else:
                upstream.reset()
        self._downstream.resume_reading(UPSTREAM_WRITE_PAUSED)
        self._advance()
        return True

    def _out_of_time(self) -> None:
        """The request as a whole took too long."""
        self._timer = None
        self._fail(504, Termination.UPSTREAM_READ_TIMEOUT, "the request took too long as a whole")

    # The request.

    @override
    def _send(self, upstream: Upstream) -> None:
        """Send all there is, in one write."""
        self._upstream = upstream
        body = self._kept
        if self._kept_size > self._runtime.settings.buffer_bytes or not (
            self._repeatable or upstream.may_be_unprocessed
        ):
            self._discard_body()
        complete = self.request_complete
        timeout = self._read_timeout if complete else NEVER
        if self._downstream.write_paused:
            upstream.pause_reading()
            timeout = NEVER
        trailers = self._trailers
        upstream.send_request(self, self._request, body, last=complete and not trailers, timeout=timeout)
        if trailers:
            upstream.send_data(b"", last=True, trailers=trailers)
        if self._downstream.read_pauses:
            self._downstream.resume_reading(NO_UPSTREAM)

    def _heed_grpc(self) -> None:
        """A call may be silent for as long as its client has time, unless the route says otherwise."""
        is_grpc, deadline = grpc_patience(self._request)
        if is_grpc and self._request.target.read_timeout is None:
            self._read_timeout = NEVER
        if deadline is not None:
            self._patience = deadline if self._patience is None else min(deadline, self._patience)

    def _within_limit(self, payload: bytes) -> bool:
        self._body_size += len(payload)
        limit = self._request.target.max_body_bytes
        if limit and self._body_size > limit:
            self._fail(413, Termination.BODY_TOO_LARGE)
            return False
        return True

    def _keep(self, payload: bytes) -> None:
        if payload:
            self._kept.append(payload)
            self._kept_size += len(payload)
            if self._kept_size > _SMALL_BODY:
                self._downstream.recharge()

    def _discard_body(self) -> None:
        self._body_discarded = True
        self._kept = []
        self._kept_size = 0

    # The response.

    def _edited(self, head: ResponseHead, *, interim: bool = False) -> tuple[bytes, bytes]:
        """The field lines of a response that its route lets pass, and those that it adds."""
        request = self._request
        edits = request.target.response
        cookie = b"" if interim else self._cookie_line
        if edits is None and not request.responses:
            return head.fields, cookie
        edit, filters = UNCHANGED, request.responses
        if edits is not None:
            edit = edits.secure if request.forwarding.https else edits.plain
            filters = (*edits.filters, *filters)
        if not interim:
            early = UNCHANGED
            for item in edits.rewrites if edits is not None else ():
                early = early.then(item.response(request, EndpointResponse(head)))
            edit = early.then(edit)
            for item in filters:
                edit = edit.then(item.response(request, EndpointResponse(head)))
        return without(head.fields, edit.drop), edit.lines + cookie

    def _coded(
        self, head: ResponseHead, fields: bytes, extra: bytes, payload: bytes, *, complete: bool
    ) -> tuple[ResponseHead, bytes, bytes, bytes]:
        """The same as it is sent, for a subclass that changes bodies."""
        del complete
        return head, fields, extra, payload

    def _passing_trailers(self, trailers: bytes) -> bytes:
        """Those that no recipient decides by, less what the route takes out of responses."""
        request = self._request
        trailers = safe_trailers(trailers)
        if (edits := request.target.response) is not None:
            edit = edits.secure if request.forwarding.https else edits.plain
            trailers = without(trailers, edit.drop)
        return trailers
