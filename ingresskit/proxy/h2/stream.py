"""One request of a client over HTTP/2, and its response: a stream of a connection.

What the exchange sends waits in the engine while the client's windows are closed, so each stream has marks of
its own at which the endpoint is not read. What the client sends is consumed when it is passed on: while the
endpoint takes nothing, no more of this stream comes than its window, and other streams go on.

    HEADERS ─► body ─► END_STREAM                      of the client
                          response ─► END_STREAM       ours; an END_STREAM of ours before that of the client is
                                                       followed by RST_STREAM (NO_ERROR): the rest is not wanted
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h2.engine import ErrorCode
from ingresskit.proxy.h2.responses import local_reply, response_fields, split_lines
from ingresskit.proxy.message.views import value_in
from ingresskit.proxy.ports.streams import AHEAD, UPSTREAM_WRITE_PAUSED
from ingresskit.render.grpc_status import is_grpc

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.h2.engine import Engine, Fields
    from ingresskit.proxy.message.head import RequestHead, ResponseHead
    from ingresskit.proxy.ports.streams import RequestReceiver
    from ingresskit.proxy.ports.tunnels import ByteEnd, ByteReceiver

__all__ = ["H2Stream", "StreamOwner"]

# RFC 6455, 1.3: what an endpoint must have been given to make its response of our key.
_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = b"Sec-WebSocket-Key: "
_NOT_OVER_HTTP2: Final = (b"sec-websocket-accept",)


class StreamOwner(Protocol):
    """The connection of streams, as they see it.

    Attributes:
        engine: Of the connection.
        runtime: What exchanges share.
        is_full: All streams together have too much waiting for the client: none may add to what waits of it.
    """

    engine: Engine
    runtime: Runtime
    is_full: bool

    def touch(self, stream: H2Stream) -> None:
        """Send soon what *stream* has given to the engine, and then let it settle."""
        ...

    def push(self, stream: H2Stream) -> None:
        """The same at once."""
        ...

    def hold(self, change: int) -> None:
        """The proxy holds *change* octets more for this connection than before."""
        ...

    def stream_over(self, stream: H2Stream) -> None:
        """The exchange of a stream is over."""
        ...

    def has_left(self) -> bool:
        """Whether the client closed the connection."""
        ...


class H2Stream:
    """A stream of a client: the `Downstream` of its exchange, or a `ByteEnd`.

    Attributes:
        number: Of the stream.
        write_paused: The client takes no more at the moment.
        read_pauses: Why nothing of the client is passed on; 0 when it is.
        given_up: It is cut to make room for others.
        timed_out: It took nothing for too long, and is cut.
    """

    __slots__ = (
        *("_charged", "_closed", "_cuts", "_ended", "_engine", "_head", "_held", "_held_size", "_left"),
        *("_owner", "_peer_ended", "_receiver", "_runtime", "_starting", "_trailers", "_tunnel", "_waiting"),
        *("bucket", "deadline", "given_up", "number", "read_pauses", "timed_out", "write_paused"),
    )

    def __init__(self, owner: StreamOwner, number: int, head: RequestHead, *, ended: bool) -> None:
        self._owner = owner
        self._engine = owner.engine
        self._runtime = owner.runtime
        self._head: RequestHead | None = head
        self._receiver: RequestReceiver | None = None
        self._tunnel: ByteReceiver | None = None
        # Of the client.
        self._left: int | None = head.length  # octets of the body still to come; None: that is not known
        self._held: list[bytes] | None = None  # what came while nothing is passed on
        self._held_size = 0
        self._starting = False  # its exchange begins when all that was received at once is here
        self._peer_ended = ended
        self._trailers = b""
        # Ours.
        self._ended = False  # all of the response was given to the engine
        self._cuts = False  # and the client has sent only a part of its request by then
        self._waiting = 0  # octets that waited for the client when that was looked at last
        self._charged = 0
        self._closed = False
        self.number: int = number
        self.read_pauses: int = 0
        self.write_paused: bool = False
        self.given_up: bool = False
        self.timed_out: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None

    # For the connection.

    @property
    def is_served(self) -> bool:
        """Whether its exchange, or its tunnel, goes on."""
        return self._receiver is not None or self._tunnel is not None

    def begin(self, receiver: RequestReceiver) -> None:
        """Serve the request: now, or where a body follows after `go_on`."""
        self._receiver = receiver
        if self._peer_ended:
            receiver.start(b"", complete=True)
        else:
            self._starting = True
            self._held = []

    def begin_tunnel_request(self, receiver: RequestReceiver) -> None:
        """Serve an extended CONNECT: nothing that follows belongs to the request."""
        self._receiver = receiver
        self._left = None
        self.read_pauses = AHEAD
        receiver.start(b"", complete=True)

    def go_on(self) -> None:
        """All that was received at once is here: begin the exchange with it."""
        receiver = self._receiver
        if not self._starting or receiver is None or self._closed:
            return
        self._starting = False
        payload, self._held = b"".join(self._held or ()), None
        size, self._held_size = self._held_size, 0
        self._engine.consume(self.number, size)
        head = self._head
        complete = self._peer_ended and not self._trailers
        if complete and head is not None and head.length is None:
            head.length, head.has_length = len(payload), True
        self._await_body(size)
        receiver.start(payload, complete=complete)
        if self._trailers and self._receiver is not None:
            self._receiver.request_data(b"", complete=True, trailers=self._trailers)

    def data(self, data: bytes, *, ended: bool) -> None:
        """The client sent *data*; *ended*: its direction of the stream is over."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0 or (ended and self._left):
                self.malformed("The body is not as long as its Content-Length says.")
                return
        self._take(data, b"", ended=ended)

    def trailers(self, lines: bytes) -> None:
        """The client ended its direction with trailers."""
        if self._left:
            self.malformed("The body is not as long as its Content-Length says.")
            return
        self._take(b"", lines, ended=True)

    def malformed(self, sentence: str) -> None:
        """The rest of the request is malformed: the exchange may still respond."""
        self._peer_ended = True
        self._cuts = True
        self._drop_held()
        if self._receiver is not None:
            self._starting = False
            self._receiver.refuse(sentence)
        elif not self._closed:
            self._engine.reset(self.number, ErrorCode.PROTOCOL_ERROR)

    def _take(self, data: bytes, trailers: bytes, *, ended: bool) -> None:
        self._peer_ended = ended
        tunnel, receiver = self._tunnel, self._receiver
        if not self.is_served:
            self._engine.consume(self.number, len(data))
            return
        if self._starting or self.read_pauses:
            if data:
                if self._held is None:
                    self._held = []
                self._held.append(data)
                self._held_size += len(data)
            self._trailers = trailers
            if self.read_pauses:
                self.recharge()
            return
        self._engine.consume(self.number, len(data))
        if tunnel is not None:
            self._pass_to(tunnel, data, ended=ended)
        elif receiver is not None:
            self._await_body(len(data))
            receiver.request_data(data, complete=ended, trailers=trailers)

    def _pass_to(self, tunnel: ByteReceiver, data: bytes, *, ended: bool) -> None:
        if data:
            tunnel.received(data)
        if ended and not self._closed and not tunnel.ended():
            self.close()

    def _await_body(self, size: int) -> None:
        """As over HTTP/1.1: each octet buys time, at the least rate, up to the whole of it."""
        deadlines = self._runtime.deadlines
        if self._peer_ended or self._tunnel is not None:
            if not self.write_paused:
                deadlines.set(self, NEVER)
            return
        if not self.read_pauses and not self.write_paused:
            whole = deadlines.recent + self._runtime.timeouts.body
            earned = self.deadline + size / self._runtime.settings.min_body_rate
            deadlines.set(self, min(earned, whole))

    def closed(self) -> None:
        """Both directions are over, or the connection is gone."""
        self._closed = True
        self._runtime.deadlines.forget(self)
        self._held, self._held_size = None, 0
        receiver, self._receiver = self._receiver, None
        tunnel, self._tunnel = self._tunnel, None
        self._head = None
        self._charge(0)
        if receiver is not None:
            receiver.client_lost()
        if tunnel is not None:
            tunnel.lost()

    def settle(self) -> None:
        """After something was sent: pause or go on, and cut what the client need not send."""
        if self._closed:
            return
        waiting = self._engine.queued(self.number)
        moved = waiting < self._waiting
        self._waiting = waiting
        deadlines, owner = self._runtime.deadlines, self._owner
        if self._ended and not self.is_served:
            if waiting:
                if moved or self.deadline == NEVER:
                    deadlines.set(self, deadlines.recent + self._runtime.timeouts.client_write)
            elif self._cuts:
                self._cuts = False
                self._engine.reset(self.number, ErrorCode.NO_ERROR)
                owner.touch(self)
            elif self.deadline != NEVER:
                deadlines.set(self, NEVER)
            return
        # A stream of which nothing waits goes on, however much waits of others.
        high = 0 if owner.is_full else self._runtime.settings.buffer_bytes
        if self.write_paused:
            if waiting <= high // 4:
                self._resume_writing()
            elif moved:
                deadlines.set(self, deadlines.recent + self._runtime.timeouts.client_write)
        elif waiting > high:
            self._pause_writing()

    @property
    def is_waiting(self) -> bool:
        """Whether something of it waits for the client."""
        return self._waiting > 0 or self.write_paused

    def _pause_writing(self) -> None:
        self.write_paused = True
        deadlines = self._runtime.deadlines
        if self._waiting:
            deadlines.set(self, deadlines.now() + self._runtime.timeouts.client_write)
        if self._tunnel is not None:
            self._tunnel.write_paused()
        elif self._receiver is not None:
            self._receiver.client_write_paused()

    def _resume_writing(self) -> None:
        self.write_paused = False
        deadlines = self._runtime.deadlines
        deadlines.set(self, NEVER)
        if self._tunnel is not None:
            self._tunnel.write_resumed()
            return
        self._restart_body_time()
        if self._receiver is not None:
            self._receiver.client_write_resumed()

    def _restart_body_time(self) -> None:
        if not self._peer_ended and not self.read_pauses and not self.write_paused:
            deadlines = self._runtime.deadlines
            deadlines.set(self, deadlines.recent + self._runtime.timeouts.body)

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.write_paused or (self._ended and not self.is_served):
            self.timed_out = True
            self._engine.reset(self.number, ErrorCode.CANCEL)
            self._owner.touch(self)
        elif self._receiver is not None and not self._peer_ended and not self._is_grpc:
            # A call of gRPC has a deadline of its own, and messages come when there is something to say.
            self._receiver.client_timed_out()

    # For the exchange: see `Downstream`.

    def has_left(self) -> bool:
        """As `Downstream.has_left`."""
        return self._closed or self._owner.has_left()

    def send_interim(self, head: ResponseHead, fields: bytes) -> None:
        """As `Downstream.send_interim`."""
        self._engine.send_interim(self.number, response_fields(head.status, fields, b"", None))
        self._owner.touch(self)

    def send_head(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes, *, last: bool) -> None:
        """As `Downstream.send_head`."""
        length = None if head.status == 204 else head.length
        block = response_fields(head.status, fields, extra, length)
        if data:
            self._engine.respond(self.number, block, last=False)
            self._engine.send_data(self.number, data, last=last)
        else:
            self._engine.respond(self.number, block, last=last)
        self._ended = last
        self._owner.touch(self)

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """As `Downstream.send_data`."""
        if trailers and last:
            self._engine.send_data(self.number, data, last=False)
            self._engine.send_trailers(self.number, split_lines(trailers))
        else:
            self._engine.send_data(self.number, data, last=last)
        self._ended = last
        self._sent()

    def _sent(self) -> None:
        """A part of a body was given to the engine."""
        if self._engine.queued(self.number) > self._runtime.settings.buffer_bytes:
            # Before the endpoint sends more: some event loops read thirty times in one turn.
            self._owner.push(self)
        else:
            self._owner.touch(self)

    def send_local_reply(
        self,
        status: int,
        *,
        sentence: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> int:
        """As `Downstream.send_local_reply`."""
        block, body = local_reply(
            status, sentence=sentence, location=location, extra=fields, grpc=self._is_grpc
        )
        return self.send_whole(block, body)

    @property
    def _is_grpc(self) -> bool:
        """Whether the client speaks gRPC; asked where something goes wrong only."""
        head = self._head
        return head is not None and is_grpc(value_in(head.fields, b"content-type"))

    def send_whole(self, block: Fields, body: bytes) -> int:
        """Send a whole response; how many octets of body were sent."""
        if self._head is not None and self._head.method == b"HEAD":
            body = b""
        self._engine.respond(self.number, block, last=not body)
        if body:
            self._engine.send_data(self.number, body, last=True)
        self._ended = True
        self._owner.touch(self)
        return len(body)

    def upgrade(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes) -> ByteEnd:
        """As `Downstream.upgrade`: the stream of an extended CONNECT, which has a 200 and no key (RFC 8441)."""
        del head
        self._receiver = None
        if self._closed:
            return self
        if not self._has_right_key(fields):
            self._engine.reset(self.number, ErrorCode.CONNECT_ERROR)
            self._owner.touch(self)
            return self
        block = [
            field for field in response_fields(200, fields, extra, None) if field[0] not in _NOT_OVER_HTTP2
        ]
        self._engine.respond(self.number, block, last=False)
        self.write(data)
        return self

    def _has_right_key(self, fields: bytes) -> bool:
        """Whether the endpoint made its response of the key that it was sent, and is one of WebSocket."""
        head = self._head
        if head is None:
            return False
        key = head.fields.rpartition(_KEY)[2].rstrip(b"\r\n")
        wanted = base64.b64encode(hashlib.sha1(key + _WEBSOCKET, usedforsecurity=False).digest())
        return value_in(fields, b"sec-websocket-accept") == wanted

    def pause_reading(self, reason: int) -> None:
        """As `Downstream.pause_reading`."""
        if not self.read_pauses and not self.write_paused:
            self._runtime.deadlines.set(self, NEVER)
        self.read_pauses |= reason
        self.recharge()

    def resume_reading(self, reason: int) -> None:
        """As `Downstream.resume_reading`."""
        if not self.read_pauses:
            return
        self.read_pauses &= ~reason
        if self.read_pauses or self._closed or self._starting:
            return
        self._restart_body_time()
        held, size = self._held, self._held_size
        self._held, self._held_size = None, 0
        if held is not None or self._peer_ended:
            self._engine.consume(self.number, size)
            if size:
                self._owner.touch(self)
            self._pass_held(b"".join(held or ()))
        if self._charged:
            self.recharge()

    def _pass_held(self, data: bytes) -> None:
        trailers, self._trailers = self._trailers, b""
        if self._tunnel is not None:
            self._pass_to(self._tunnel, data, ended=self._peer_ended)
        elif (receiver := self._receiver) is not None and not receiver.request_complete:
            if data or trailers or self._peer_ended:
                receiver.request_data(data, complete=self._peer_ended, trailers=trailers)

    def recharge(self) -> None:
        """As `Downstream.recharge`."""
        self._charge(self._held_size + (0 if self._receiver is None else self._receiver.waiting_bytes))

    def _charge(self, size: int) -> None:
        change, self._charged = size - self._charged, size
        if change:
            self._owner.hold(change)

    def hand_over(self, receiver: RequestReceiver) -> None:
        """As `Downstream.hand_over`."""
        self._receiver = receiver

    def finish(self) -> None:
        """As `Downstream.finish`."""
        receiver, self._receiver = self._receiver, None
        self._runtime.deadlines.set(self, NEVER)
        self._head = None
        if not self._peer_ended or (receiver is not None and not receiver.request_complete):
            self._cuts = True
        self._drop_held()
        self._charge(0)
        self.write_paused = False
        self._owner.touch(self)
        self._owner.stream_over(self)

    def _drop_held(self) -> None:
        if self._held is not None:
            size, self._held, self._held_size = self._held_size, None, 0
            self._engine.consume(self.number, size)

    def reset(self) -> None:
        """As `Downstream.reset`."""
        self._receiver = None
        self._head = None
        self._drop_held()
        self._charge(0)
        self._engine.reset(self.number, ErrorCode.INTERNAL_ERROR)
        self._owner.touch(self)
        self._owner.stream_over(self)

    # For the tunnel: see `ByteEnd`.

    def start(self, receiver: ByteReceiver) -> None:
        """As `ByteEnd`."""
        self._head = None
        if self._closed:
            receiver.lost()
            return
        self._tunnel = receiver
        self._runtime.deadlines.set(self, NEVER)
        if self.write_paused:
            receiver.write_paused()
        self.resume_reading(self.read_pauses)

    def write(self, data: bytes) -> None:
        """As `ByteEnd.write`."""
        if data:
            self._engine.send_data(self.number, data, last=False)
            self._sent()

    def pause(self) -> None:
        """As `ByteEnd.pause`."""
        self.pause_reading(UPSTREAM_WRITE_PAUSED)

    def resume(self) -> None:
        """As `ByteEnd.resume`."""
        self.resume_reading(UPSTREAM_WRITE_PAUSED)

    def end(self) -> bool:
        """As `ByteEnd.end`."""
        if not self._ended:
            self._ended = True
            self._engine.send_data(self.number, b"", last=True)
            self._owner.touch(self)
        return not self._closed

    def close(self) -> None:
        """As `ByteEnd.close`."""
        self.end()
        self._tunnel = None
        self._cuts = not self._peer_ended
        self._drop_held()
        self._charge(0)
        self._owner.stream_over(self)

    def abort(self) -> None:
        """As `ByteEnd.abort`."""
        self._tunnel = None
        self._engine.reset(self.number, ErrorCode.CANCEL)
        self._owner.touch(self)
        self._owner.stream_over(self)
