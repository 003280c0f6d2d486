"""One forwarded request and its answer.

An exchange ends in one of these ways, and each says what becomes of the two connections:

- the answer is complete, and so was the request: both go on (the endpoint's to the pool);
- the answer is complete before the request: neither is used again, since unread request bytes would
  be taken for the next request;
- either of them speaks of an authentication of the connection: the endpoint's is not used again, or the
  next client would be taken for this one;
- no answer began: another try where that is safe, else an answer of our own; the endpoint's
  connection is gone either way;
- the answer broke off: the client's connection is cut, which is the only way left to tell it.

Another try is safe when nothing was sent, or when the method may be repeated (RFC 9110, 9.2.2),
nothing was received, and all that was sent of the body is still here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.graph import Protocol, Termination
from ingresskit.policies import Algorithm
from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.guards import EndpointResponse
from ingresskit.proxy.exchange.tunnel import Tunnel
from ingresskit.proxy.message.fields import without
from ingresskit.proxy.upstreams.pool import ConnectFailed, EndpointState

if TYPE_CHECKING:
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.proxy.h1.heads import ResponseHead
    from ingresskit.proxy.h1.upstream import UpstreamConnection
    from ingresskit.proxy.plane import Plane
    from ingresskit.proxy.requests import Admitted
    from ingresskit.proxy.upstreams.balance import BackendState

__all__ = ["Exchange", "chunk"]

_logger = fact_logger(__name__)

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
_LAST_CHUNK: Final = b"0\r\n\r\n"
# Looking a member up on its class at every request costs more than the comparison.
_CLIENT_HASH: Final = Algorithm.CLIENT_HASH
_HTTPS: Final = Protocol.HTTPS
_LEFT: Final = 499  # nginx's convention for a client that closed the connection: logged, never sent
_SMALL_BODY: Final = 8192  # kept for another try without being accounted for
_MOST_TRIED: Final = 10  # endpoints in a record


def chunk(payload: bytes) -> bytes:
    """*payload*, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Exchange:
    """A request on its way to an endpoint, and its answer on the way back.

    Attributes:
        head_only: The request is HEAD: its answer has no body.
        answered: The head of the answer is sent to the client; nothing else may be any more.
    """

    __slots__ = (
        "_admitted",
        "_attempts",
        "_began",
        "_body_lost",
        "_body_size",
        "_chunked_answer",
        "_client",
        "_closing",
        "_complete",
        "_connect_time",
        "_endpoint",
        "_ends_body",
        "_first_byte",
        "_held",
        "_held_size",
        "_over",
        "_plane",
        "_read_timeout",
        "_repeatable",
        "_request",
        "_sent",
        "_stale_tries",
        "_state",
        "_status",
        "_tried",
        "_tries_left",
        "_upstream",
        "answered",
        "head_only",
    )

    def __init__(
        self,
        plane: Plane,
        client: ClientConnection,
        admitted: Admitted,
        state: BackendState,
        began: float | None = None,
    ) -> None:
        self._plane = plane
        self._client = client
        self._admitted = admitted
        self._state = state
        self._began: float = plane.deadlines.recent if began is None else began
        method = admitted.head.method
        self._repeatable: bool = method in _IDEMPOTENT
        self.head_only: bool = method == b"HEAD"
        target = admitted.target
        self._tries_left: int = target.retries
        self._read_timeout: float = plane.read_timeout if target.read_timeout is None else target.read_timeout
        # The body as it is sent, chunk framing included, while it may have to be sent (again).
        self._held: list[bytes] = []
        self.answered: bool = False
        self._request: bytes = b""
        self._stale_tries: int = 1
        self._tried: tuple[EndpointState, ...] = ()
        self._endpoint: EndpointState | None = None
        self._upstream: UpstreamConnection | None = None
        self._attempts: int = 0
        self._held_size: int = 0
        self._body_lost: bool = False
        self._body_size: int = 0
        self._complete: bool = False
        self._chunked_answer: bool = False
        self._ends_body: bool = False
        self._closing: bool = False
        self._status: int = 0
        self._sent: int = 0
        self._first_byte: float | None = None
        self._connect_time: float | None = None
        self._over: bool = False
        state.requests += 1
        state.active += 1

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request: for another try, and for an endpoint that takes nothing."""
        upstream = self._upstream
        if upstream is None or not self._client.is_held_for_endpoint:
            return self._held_size
        return self._held_size + upstream.transport.get_write_buffer_size()

    # What the client does.

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Send the request, and what is there of its body."""
        self._request = self._admitted.build()
        if payload and not self._within_limit(payload):
            return
        if self._admitted.head.length != 0:
            self._hold(self._frame_request(payload, complete))
        self._complete = complete
        self._try()

    def request_data(self, payload: bytes, *, complete: bool) -> None:
        """Send more of the request's body, *complete* with its last byte."""
        if self._over or (payload and not self._within_limit(payload)):
            return
        self._complete = complete
        data = self._frame_request(payload, complete)
        upstream = self._upstream
        if upstream is None:
            self._hold(data)
            if self._held_size > self._plane.settings.buffer_bytes and not complete:
                self._client.hold_for_connection()
            return
        if data:
            if not self._body_lost:
                plane = self._plane
                if self._held_size + len(data) > plane.settings.buffer_bytes or plane.memory.is_scarce:
                    self._lose_body()
                else:
                    self._hold(data)
            upstream.write(data)
        if complete:
            upstream.wait_for_answer(self._read_timeout)

    def client_lost(self) -> None:
        """The client disconnected: end the upstream request, and never repeat it."""
        if self._over:
            return
        self._drop_upstream()
        if self._plane.closing:
            self._end(self._status or 503, Termination.SHUTDOWN)
        elif self._client.given_up:
            self._end(self._status or 503, Termination.OVERLOADED)
        elif self._client.timed_out:
            self._end(self._status or 408, Termination.CLIENT_TIMEOUT, "the client took nothing")
        else:
            self._end(self._status or _LEFT, Termination.CLIENT_LEFT)

    def client_timed_out(self) -> None:
        """The client did not send its body in time."""
        self._fail(408, Termination.CLIENT_TIMEOUT)

    def client_is_full(self) -> None:
        """The client takes nothing at the moment: read nothing for it."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def client_has_room(self) -> None:
        """Undo `client_is_full`."""
        if self._upstream is not None:
            self._upstream.resume_reading()
            if self._complete or self.answered:
                self._upstream.wait_for_answer(self._read_timeout)

    def refuse(self, sentence: str) -> None:
        """The rest of the request is malformed: respond 400, or cut when a response has begun."""
        self._fail(400, Termination.BAD_REQUEST, sentence, sentence=sentence)

    # What the endpoint does.

    def interim_answer(self, head: ResponseHead) -> None:
        """An interim response: a sign of life. Clients that understand it get it."""
        if self._complete and self._upstream is not None and not self._client.full:
            self._upstream.wait_for_answer(self._read_timeout)
        if self._admitted.head.old:
            return
        if head.status == 100:
            if self._admitted.head.expects_continue:
                self._client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif head.status in (102, 103):
            line = b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
            fields = self._edited(head, interim=True)[0]
            self._client.send(line + fields + b"\r\n")

    def answer(self, head: ResponseHead, payload: bytes, *, complete: bool) -> None:
        """The head of the answer, and what is there of its body: in one write."""
        request = self._admitted.head
        fields, framing = head.fields, b""
        if self._admitted.target.response is not None:
            try:
                fields, framing = self._edited(head)
            except Exception:
                _logger.exception("a filter failed", extra={"host": self._admitted.target.host})
                self._fail(500, Termination.INTERNAL)
                return
        status = head.status
        closing = not self._complete or self._plane.draining or not request.keep_alive
        if status == 204:
            pass
        elif head.length is not None:
            framing += b"Content-Length: %d\r\n" % head.length
        elif self.head_only or status == 304:
            framing += b"Transfer-Encoding: chunked\r\n" if head.chunked and not request.old else b""
        elif request.old:
            # To HTTP/1.0, the end of the connection is the end of the body.
            closing = self._ends_body = True
        else:
            self._chunked_answer = True
            framing += b"Transfer-Encoding: chunked\r\n"
        if closing:
            framing += b"Connection: close\r\n"
        elif request.old:
            framing += b"Connection: keep-alive\r\n"
        if status == 426 and head.upgrade:
            framing += b"Upgrade: %b\r\nConnection: Upgrade\r\n" % head.upgrade
        self._closing = closing
        self._status = status
        if not complete:
            self._first_byte = self._plane.deadlines.recent
        self._sent = len(payload)
        self.answered = True
        self._client.send(
            b"".join(
                (
                    b"HTTP/1.1 %d " % status,
                    head.reason,
                    b"\r\n",
                    fields,
                    framing,
                    b"\r\n",
                    self._frame_answer(payload, complete) if self._chunked_answer else payload,
                )
            )
        )
        if complete:
            self._answer_complete()
        elif self._upstream is not None and not self._client.full:
            self._upstream.wait_for_answer(self._read_timeout)

    def answer_data(self, payload: bytes, *, complete: bool) -> None:
        """More of the answer's body, *complete* with its last byte."""
        self._sent += len(payload)
        data = self._frame_answer(payload, complete)
        if data:
            self._client.send(data)
        if self._over:
            return
        if complete:
            self._answer_complete()
        elif self._upstream is not None and not self._client.full:
            self._upstream.wait_for_answer(self._read_timeout)

    def answer_broken(self, clause: str) -> None:
        """The upstream response is malformed or its framing cannot be trusted."""
        self._attempt_failed(Termination.UPSTREAM_MALFORMED, clause)
        self._fail(502, Termination.UPSTREAM_MALFORMED, clause)

    def switch_protocols(self, head: ResponseHead, data: bytes) -> None:
        """The endpoint says 101: from now on bytes pass both ways, if that is what was asked for."""
        asked = self._admitted.head.upgrade
        upstream = self._upstream
        if not asked or head.upgrade.lower() != asked.lower() or upstream is None:
            self.answer_broken("switch to a protocol that was not asked for")
            return
        self.answered = True
        self._status = 101
        self._first_byte = self._plane.deadlines.recent
        fields, more = self._edited(head)
        upstream.exchange = None
        self._upstream = None
        tunnel = Tunnel(self._plane, self._client, upstream, self._read_timeout, self._release_endpoint)
        self._client.send(
            b"HTTP/1.1 101 Switching Protocols\r\n%b%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n%b"
            % (fields, more, head.upgrade, data)
        )
        self._end(101)
        self._client.begin_tunnel(tunnel)

    def endpoint_lost(self, upstream: UpstreamConnection) -> None:
        """The connection ended before the answer did."""
        if upstream is not self._upstream or self._over:
            return
        self._upstream = None
        if self.answered:
            self._attempt_failed(Termination.UPSTREAM_TRUNCATED)
            self._cut(Termination.UPSTREAM_TRUNCATED)
            return
        if self._repeatable and not upstream.heard and not self._body_lost:
            if upstream.reused and self._stale_tries:
                # The endpoint closed an idle connection just when we took it: nobody's fault, and
                # not one of the tries of the policy. A new connection to the same endpoint.
                self._stale_tries -= 1
                if not self._leaves_with_client():
                    self._connect(fresh=True)
                return
            self._attempt_failed(Termination.UPSTREAM_CLOSED)
            if self._next_endpoint():
                return
        else:
            self._attempt_failed(Termination.UPSTREAM_CLOSED)
        self._fail(502, Termination.UPSTREAM_CLOSED)

    def endpoint_timed_out(self) -> None:
        """The endpoint neither took nor sent anything for too long."""
        late = Termination.UPSTREAM_READ_TIMEOUT
        if self._client.is_held_for_endpoint:
            late = Termination.UPSTREAM_SEND_TIMEOUT
        self._attempt_failed(late)
        self._fail(504, late)

    def endpoint_is_full(self) -> None:
        """The endpoint takes nothing at the moment: read no more of the request."""
        self._client.hold_for_endpoint()
        if self._upstream is not None:
            self._upstream.wait_for_answer(self._send_timeout)

    def endpoint_has_room(self) -> None:
        """Undo `endpoint_is_full`."""
        self._client.release_for_endpoint()
        if self._upstream is not None and not self._over:
            self._upstream.wait_for_answer(self._read_timeout if self._complete else NEVER)

    # The tries.

    @property
    def _send_timeout(self) -> float:
        timeout = self._admitted.target.send_timeout
        return self._plane.send_timeout if timeout is None else timeout

    def _try(self) -> None:
        """Choose an endpoint, and send the request there."""
        algorithm = self._admitted.target.algorithm
        client = str(self._admitted.forwarding.client) if algorithm is _CLIENT_HASH else ""
        endpoint = self._state.choose(algorithm, client, self._tried, self._began)
        if endpoint is None:
            self._fail(503, Termination.NO_ENDPOINT)
            return
        if self._endpoint is not None:
            self._leave_endpoint()
        self._endpoint = endpoint
        endpoint.active += 1
        self._connect(fresh=False)

    def _connect(self, *, fresh: bool) -> None:
        endpoint = self._endpoint
        assert endpoint is not None  # noqa: S101 - set by _try, always before
        self._attempts += 1
        endpoint.requests += 1
        name = self._admitted.server_name if endpoint.protocol is _HTTPS else ""
        if not fresh:
            repeatable = self._repeatable and not self._body_lost
            if (idle := self._plane.pool.take(endpoint, name, repeatable=repeatable)) is not None:
                self._plane.counters.upstream_reused += 1
                if self._connect_time is not None:
                    self._connect_time = None  # of another try
                self._send(idle)
                return
        timeout = self._admitted.target.connect_timeout
        seconds = self._plane.connect_timeout if timeout is None else timeout
        task = self._plane.loop.create_task(self._wait_for_connection(endpoint, name, seconds))
        self._plane.tasks.add(task)
        task.add_done_callback(self._plane.tasks.discard)

    async def _wait_for_connection(self, endpoint: EndpointState, name: str, seconds: float) -> None:
        deadlines = self._plane.deadlines
        begun = deadlines.now()
        try:
            upstream = await self._plane.pool.connect(endpoint, name, seconds)
        except ConnectFailed as exc:
            self._connect_time = deadlines.now() - begun
            if not self._over:
                self._attempt_failed(exc.termination, exc.detail)
                if not self._next_endpoint():
                    late = exc.termination is Termination.UPSTREAM_CONNECT_TIMEOUT
                    self._fail(504 if late else 502, exc.termination, exc.detail)
            return
        self._connect_time = deadlines.now() - begun
        if self._over:
            # The client left meanwhile; the connection is as good as new.
            self._plane.pool.put(upstream)
        else:
            self._send(upstream)

    def _next_endpoint(self) -> bool:
        """Go on with another endpoint, if the policy lets us and there is one."""
        if not self._tries_left or self._endpoint is None:
            return False
        if self._leaves_with_client():
            return True
        tried = (*self._tried, self._endpoint)
        if all(endpoint in tried for endpoint in self._state.endpoints):
            return False
        self._tries_left -= 1
        self._tried = tried
        self._plane.counters.retries += 1
        self._try()
        return True

    def _leaves_with_client(self) -> bool:
        """End the exchange when its client left: its request is never repeated."""
        if not self._client.has_left():
            return False
        self.client_lost()
        self._client.abort()
        return True

    def _attempt_failed(self, termination: Termination, detail: str = "") -> None:
        """Count a failure of the endpoint, and let the log know why."""
        plane, endpoint = self._plane, self._endpoint
        self._state.failures += 1
        plane.counters.count_failure(termination)
        if endpoint is not None:
            endpoint.failures += 1
            plane.troubles.failed(endpoint, termination, detail, self._admitted, plane.deadlines.now())

    def _attempt_succeeded(self, endpoint: EndpointState) -> None:
        """An endpoint that failed before returned a whole response."""
        if endpoint.unreached:
            endpoint.worked()
        self._plane.troubles.ended(endpoint, self._plane.deadlines.recent)

    def _send(self, upstream: UpstreamConnection) -> None:
        """Send all there is, in one write."""
        self._upstream = upstream
        data = self._request
        if self._held:
            data = b"".join((data, *self._held))
            if not self._repeatable or self._held_size > self._plane.settings.buffer_bytes:
                self._lose_body()
        elif not self._repeatable:
            self._body_lost = True
        if self._client.full:
            upstream.pause_reading()
            upstream.serve(self, data, NEVER)
        else:
            answer_by = self._plane.deadlines.recent + self._read_timeout if self._complete else NEVER
            upstream.serve(self, data, answer_by)
        if self._client.held:
            self._client.release_for_connection()

    # The request's body.

    def _frame_request(self, payload: bytes, complete: bool) -> bytes:
        if self._admitted.head.length is not None:
            return payload
        framed = chunk(payload) if payload else b""
        return framed + _LAST_CHUNK if complete else framed

    def _within_limit(self, payload: bytes) -> bool:
        self._body_size += len(payload)
        limit = self._admitted.target.max_body_bytes
        if limit and self._body_size > limit:
            self._fail(413, Termination.BODY_TOO_LARGE)
            return False
        return True

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size > _SMALL_BODY:
                self._client.recharge()

    def _lose_body(self) -> None:
        self._body_lost = True
        self._held.clear()
        self._held_size = 0

    # The end.

    def _edited(self, head: ResponseHead, *, interim: bool = False) -> tuple[bytes, bytes]:
        """The field lines of an answer that its route lets pass, and those that it adds."""
        admitted = self._admitted
        edits = admitted.target.response
        if edits is None:
            return head.fields, b""
        edit = edits.secure if admitted.forwarding.https else edits.plain
        if not interim:
            for item in edits.filters:
                edit = edit.then(item.response(admitted, EndpointResponse(head)))
        return without(head.fields, edit.drop), edit.lines

    def _frame_answer(self, payload: bytes, complete: bool) -> bytes:
        if not self._chunked_answer:
            return payload
        framed = chunk(payload) if payload else b""
        return framed + _LAST_CHUNK if complete else framed

    def _answer_complete(self) -> None:
        upstream, self._upstream = self._upstream, None
        if (endpoint := self._endpoint) is not None and endpoint.trouble is not None:
            self._attempt_succeeded(endpoint)
        if upstream is not None:
            if upstream.reusable and self._complete and not self._admitted.head.binds:
                self._plane.pool.put(upstream)
            else:
                upstream.close()
        self._end(self._status)
        if self._ends_body:
            self._client.exchange_over(closing=True, ends_body=True)
        else:
            self._client.exchange_over(closing=self._closing or not self._complete)

    def _fail(self, status: int, termination: Termination, detail: str = "", *, sentence: str = "") -> None:
        """Respond with an error of our own; when a response has begun already, cut it."""
        if self._over:
            return
        self._drop_upstream()
        if self.answered:
            self._cut(termination, detail)
            return
        self.answered = True
        self._sent = self._client.send_local_reply(
            status,
            sentence=sentence,
            head_only=self.head_only,
            closing=not self._complete or not self._admitted.head.keep_alive,
        )
        self._end(status, termination, detail)
        self._client.exchange_over(closing=not self._complete or not self._admitted.head.keep_alive)

    def _cut(self, termination: Termination, detail: str = "") -> None:
        self._end(self._status, termination, detail)
        self._client.abort()

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def _leave_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.active -= 1
            self._endpoint = None

    def _release_endpoint(self) -> None:
        self._state.active -= 1
        if (endpoint := self._endpoint) is not None:
            endpoint.active -= 1
            self._endpoint = None

    def _end(self, status: int, termination: Termination | None = None, detail: str = "") -> None:
        self._over = True
        endpoint = self._endpoint
        if status != 101:
            self._release_endpoint()
        admitted = self._admitted
        plane = self._plane
        # After a failure nothing may have been received for long, and the time with it.
        deadlines = plane.deadlines
        duration = (deadlines.recent if termination is None else deadlines.now()) - self._began
        plane.counters.count_request(admitted.target.host, status, duration, termination)
        log = plane.settings.access_log
        if log is not None:
            first = self._first_byte
            if first is None and self._status:
                first = deadlines.recent  # the response came whole, in one read
            log(
                AccessRecord(
                    client=str(admitted.forwarding.client),
                    method=admitted.head.method.decode("ascii"),
                    host=admitted.host,
                    path=admitted.path,
                    rule_host=admitted.target.host,
                    status=status,
                    sent_bytes=self._sent,
                    duration=duration,
                    backend=self._state.backend.key,
                    endpoint="" if endpoint is None else str(endpoint),
                    attempts=self._attempts,
                    request_id=admitted.request_id.decode("ascii"),
                    termination=termination,
                    detail=detail,
                    tried=tuple(str(tried) for tried in self._tried[:_MOST_TRIED]),
                    connect_time=self._connect_time,
                    first_byte_time=None if first is None else first - self._began,
                    upstream_status=self._status or None,
                )
            )
