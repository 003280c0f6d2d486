"""One request of a client over HTTP/2, and its response: a stream of a connection.

What the exchange sends waits in the engine while the client's windows are closed, so each stream has marks of
its own at which the endpoint is not read.

    HEADERS ─► body ─► END_STREAM                      of the client
                          response ─► END_STREAM       ours; an END_STREAM of ours before that of the client is
                                                       followed by RST_STREAM (NO_ERROR): the rest is not wanted
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h2.engine import ErrorCode
from ingresskit.proxy.h2.inbound import InboundStream
from ingresskit.proxy.h2.responses import local_reply, response_fields, split_lines
from ingresskit.proxy.message.views import value_in
from ingresskit.proxy.ports.streams import UPSTREAM_WRITE_PAUSED
from ingresskit.render.grpc_status import is_grpc

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Fields
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.ports.streams import RequestReceiver
    from ingresskit.proxy.ports.tunnels import ByteEnd, ByteReceiver

__all__ = ["H2Stream"]

# RFC 6455, 1.3: what an endpoint must have been given to make its response of our key.
_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = b"Sec-WebSocket-Key: "
_NOT_OVER_HTTP2: Final = (b"sec-websocket-accept",)


class H2Stream(InboundStream):
    """A stream of a client: the `Downstream` of its exchange, or a `ByteEnd`."""

    __slots__ = ()

    timed_out: bool
    write_paused: bool

    # For the connection.

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
