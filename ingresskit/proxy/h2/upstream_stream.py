"""One stream of a connection to an endpoint: a request, and the response to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h2.engine import ErrorCode
from ingresskit.proxy.h2.fields import fields_of
from ingresskit.proxy.h2.response_heads import read_response, read_trailers
from ingresskit.proxy.message.fields import safe_trailers
from ingresskit.proxy.message.head import BadResponse

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.h2.engine import Engine, Fields
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import ResponseReceiver
    from ingresskit.proxy.ports.tunnels import ByteEnd

__all__ = ["H2Stream", "LendingConnection"]

_MOST_INTERIM: Final = 256  # in a second: more is no sign of life
_BODILESS: Final = (204, 304)


class LendingConnection(Protocol):
    """A connection, as its streams see it."""

    @property
    def engine(self) -> Engine:
        """Its frames; `flush` after each call."""
        ...

    @property
    def is_secure(self) -> bool:
        """Whether it is inside TLS."""
        ...

    @property
    def max_headers(self) -> int:
        """Fields in the head of a response."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """What may wait to be sent of one request."""
        ...

    def begun(self, stream: H2Stream, number: int) -> None:
        """A stream has got its number."""
        ...

    def slow(self, stream: H2Stream) -> None:
        """The endpoint takes less of a request than there is."""
        ...

    def done(self, stream: H2Stream) -> None:
        """A stream is over, and its exchange knows."""
        ...

    def flush(self) -> None:
        """Send what there is to be sent."""
        ...

    def retire(self) -> None:
        """Lend no more."""
        ...


class H2Stream:
    """An `Upstream` on a connection that carries others too.

    Attributes:
        number: In the connection; 0 before its request is sent.
        reused: The connection carried a request before.
        received_any: Something was received for the present request.
        unprocessed: The endpoint said that it did nothing about the request.
        may_be_unprocessed: It says so.
    """

    __slots__ = (
        "_connection",
        "_deadlines",
        "_ended",
        "_gone",
        "_head",
        "_held",
        "_interim",
        "_interim_since",
        "_over",
        "_paused",
        "_receiver",
        "_write_paused",
        "bucket",
        "deadline",
        "number",
        "received_any",
        "reused",
        "unprocessed",
    )

    may_be_unprocessed: bool = True

    def __init__(self, connection: LendingConnection, deadlines: Deadlines, *, reused: bool) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self.number: int = 0
        self.reused: bool = reused
        self.received_any: bool = False
        self.unprocessed: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self._receiver: ResponseReceiver | None = None
        self._head: ResponseHead | None = None  # was received, and not passed on
        self._held: deque[tuple[bytes, bool, bytes]] | None = None  # what the client does not take yet
        self._paused = False
        self._write_paused = False
        self._ended = False  # the last of the response was received
        self._over = False  # the stream is closed in both directions
        self._gone = False  # it was given back
        self._interim = 0
        self._interim_since = 0.0

    # For the exchange.

    @property
    def unsent_bytes(self) -> int:
        """As `Upstream.unsent_bytes`."""
        return 0 if self._over or not self.number else self._connection.engine.queued(self.number)

    def send_request(
        self,
        receiver: ResponseReceiver,
        request: ForwardedRequest,
        body: Sequence[bytes],
        *,
        last: bool,
        timeout: float,
    ) -> None:
        """As `Upstream.send_request`."""
        self._receiver = receiver
        deadlines = self._deadlines
        deadlines.set(self, deadlines.recent + timeout)
        if request.upgrade:
            self._later(receiver, "no upgrade over HTTP/2")
            return
        connection = self._connection
        number = connection.engine.open(
            _request_fields(request, secure=connection.is_secure), last=last and not body
        )
        if not number:
            connection.retire()
            self.unprocessed = True
            self._later(receiver, "")
            return
        self.number = number
        connection.begun(self, number)
        if body:
            self.send_data(body[0] if len(body) == 1 else b"".join(body), last=last)
        else:
            connection.flush()

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """As `Upstream.send_data`; of trailers those that nobody decides by."""
        if self._over or not self.number:
            return
        connection = self._connection
        engine = connection.engine
        fields = fields_of((safe_trailers(trailers),)) if trailers else []
        if data or (last and not fields):
            engine.send_data(self.number, data, last=last and not fields)
        if fields:
            engine.send_trailers(self.number, fields)
        connection.flush()
        if data and not self._write_paused and self.unsent_bytes > connection.buffer_bytes:
            self._write_paused = True
            connection.slow(self)
            if self._receiver is not None:
                self._receiver.endpoint_write_paused()

    def expect_response(self, timeout: float) -> None:
        """As `Upstream.expect_response`."""
        deadlines = self._deadlines
        deadlines.set(self, deadlines.recent + timeout)

    def pause_reading(self) -> None:
        """As `Upstream.pause_reading`."""
        if not self._paused:
            self._paused = True
            self._deadlines.set(self, NEVER)

    def resume_reading(self) -> None:
        """As `Upstream.resume_reading`: what was held goes first."""
        if not self._paused:
            return
        self._paused = False
        self.pass_head()
        held = self._held
        while held and not self._paused and self._receiver is not None:
            self._pass(*held.popleft())
        if not held and not self._paused:
            self._held = None
            if self._over and not self._ended:
                self._lose()
        self._connection.flush()

    def upgrade(self) -> ByteEnd:
        """As `Upstream.upgrade`, which never follows: there is no 101 in HTTP/2."""
        raise RuntimeError("HTTP/2 has no upgrade")

    def release(self, *, reusable: bool) -> None:
        """As `Upstream.release`; a request that is not complete ends here."""
        del reusable  # another stream cannot read the rest of this one
        self._let_go()

    def reset(self) -> None:
        """As `Upstream.reset`."""
        self._let_go()

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self._receiver is not None:
            self._receiver.endpoint_timed_out()

    # For the connection.

    def begin(self, fields: Fields, *, ended: bool) -> None:
        """The head of the response was received."""
        self.received_any = True
        receiver = self._receiver
        if receiver is None:
            return
        try:
            head = read_response(fields, self._connection.max_headers)
        except BadResponse as exc:
            receiver.response_broken(str(exc))
            return
        if ended and head.length is None and not receiver.head_only and head.status not in _BODILESS:
            head.length = 0
        self._head = head
        if ended:
            self._take(b"", ended=True)

    def interim(self, fields: Fields) -> None:
        """An interim response was received."""
        self.received_any = True
        receiver = self._receiver
        if receiver is None:
            return
        now = self._deadlines.recent
        if now >= self._interim_since + 1:
            self._interim_since, self._interim = now, 0
        self._interim += 1
        try:
            if self._interim > _MOST_INTERIM:
                raise BadResponse("flood of interim responses")
            head = read_response(fields, self._connection.max_headers)
            if head.status == 101:
                raise BadResponse("switch to a protocol that was not asked for")
        except BadResponse as exc:
            receiver.response_broken(str(exc))
            return
        receiver.interim_response(head)

    def data(self, data: bytes, *, ended: bool) -> None:
        """A part of the body was received."""
        self._take(data, ended=ended)

    def trailers(self, fields: Fields) -> None:
        """The fields after the body were received."""
        receiver = self._receiver
        if receiver is None:
            return
        try:
            lines = read_trailers(fields, self._connection.max_headers)
        except BadResponse as exc:
            receiver.response_broken(str(exc))
            return
        self._take(b"", ended=True, trailers=lines)

    def pass_head(self) -> None:
        """Report the head of the response, if that was not done with the first of its body."""
        head = self._head
        if head is None or self._paused or self._receiver is None:
            return
        self._head = None
        self._receiver.response(head, b"", complete=False)

    def closed(self, *, unprocessed: bool) -> None:
        """The stream is over in both directions."""
        if self._over:
            return
        self._over = True
        self.unprocessed = unprocessed
        if not self._ended and not (self._paused and (self._head is not None or self._held)):
            self.pass_head()
            self._lose()

    def connection_lost(self) -> None:
        """The connection is gone."""
        self.closed(unprocessed=False)

    def taken(self) -> None:
        """The endpoint took what waited."""
        self._write_paused = False
        if self._receiver is not None:
            self._receiver.endpoint_write_resumed()

    def _take(self, data: bytes, *, ended: bool, trailers: bytes = b"") -> None:
        self._ended = ended
        if self._receiver is None:
            self._consume(len(data))
        elif not data and not ended:
            return
        elif self._paused:
            if self._held is None:
                self._held = deque()
            self._held.append((data, ended, trailers))
        else:
            self._pass(data, ended, trailers)

    def _pass(self, data: bytes, ended: bool, trailers: bytes) -> None:
        """Report a part of the response, with its head if that was not reported."""
        receiver = self._receiver
        assert receiver is not None  # noqa: S101 - looked at by the callers
        self._consume(len(data))
        head, self._head = self._head, None
        if head is None:
            receiver.response_data(data, complete=ended, trailers=trailers)
        elif not trailers:
            receiver.response(head, data, complete=ended)
        else:
            # A head has no place for them, also when all of it came at once.
            receiver.response(head, data, complete=False)
            if self._receiver is receiver:
                receiver.response_data(b"", complete=True, trailers=trailers)

    def _consume(self, size: int) -> None:
        if size and not self._over:
            self._connection.engine.consume(self.number, size)

    def _later(self, receiver: ResponseReceiver, clause: str) -> None:
        """Say that the request was not sent, when the caller is done with sending it."""

        def tell() -> None:
            if self._receiver is not receiver:
                return
            if clause:
                receiver.response_broken(clause)
            else:
                self._lose()

        asyncio.get_running_loop().call_soon(tell)

    def _lose(self) -> None:
        """Report that the stream ended before the response did."""
        receiver = self._receiver
        self._let_go()
        if receiver is not None:
            receiver.endpoint_lost(self)

    def _let_go(self) -> None:
        """Give the stream back to its connection; cut it unless it is over."""
        self._receiver = None
        if self._gone:
            return
        self._gone = True
        self._head = self._held = None
        self._deadlines.forget(self)
        connection = self._connection
        if self.number and not self._over:
            self._over = True
            connection.engine.reset(self.number, ErrorCode.CANCEL)
            connection.flush()
        connection.done(self)


def _request_fields(request: ForwardedRequest, *, secure: bool) -> list[tuple[bytes, bytes]]:
    """The fields of a request, pseudo-header fields first; what a codec owns is last."""
    head = request.head
    fields = [
        (b":method", head.method),
        (b":scheme", b"https" if secure else b"http"),
        (b":authority", request.wire_host),
        (b":path", request.sent_path.encode("ascii") + request.sent_query),
        *fields_of(request.field_lines()),
    ]
    if head.has_length:
        fields.append((b"content-length", b"%d" % (head.length or 0)))
    if head.expects_continue and head.length != 0:
        fields.append((b"expect", b"100-continue"))
    if head.takes_trailers:
        fields.append((b"te", b"trailers"))
    return fields
