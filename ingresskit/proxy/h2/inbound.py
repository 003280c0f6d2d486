"""What a client sends on a stream of its connection, and when it is passed on.

What the client sends is consumed when it is passed on: while the endpoint takes nothing, no more of this stream
comes than its window, and other streams go on. What was received at once begins an exchange as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h2.engine import ErrorCode
from ingresskit.proxy.ports.streams import AHEAD

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.h2.engine import Engine
    from ingresskit.proxy.message.head import RequestHead
    from ingresskit.proxy.ports.streams import RequestReceiver
    from ingresskit.proxy.ports.tunnels import ByteReceiver

__all__ = ["InboundStream", "StreamOwner"]


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

    def touch(self, stream: InboundStream) -> None:
        """Send soon what *stream* has given to the engine, and then let it settle."""
        ...

    def push(self, stream: InboundStream) -> None:
        """The same at once."""
        ...

    def hold(self, change: int) -> None:
        """The proxy holds *change* octets more for this connection than before."""
        ...

    def stream_over(self, stream: InboundStream) -> None:
        """The exchange of a stream is over."""
        ...

    def has_left(self) -> bool:
        """Whether the client closed the connection."""
        ...


class InboundStream(ABC):
    """The direction of a client's stream that comes from the client; a subclass sends the other one.

    It has the state of both: an object more, or a call more for each request, would be noticed.

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

    # For the subclass to do.

    @property
    @abstractmethod
    def is_waiting(self) -> bool:
        """Whether something of it waits for the client."""

    @abstractmethod
    def settle(self) -> None:
        """After something was sent: pause or go on, and cut what the client need not send."""

    @abstractmethod
    def deadline_passed(self) -> None:
        """For `Deadlines`."""

    @abstractmethod
    def close(self) -> None:
        """As `ByteEnd.close`."""

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

    def _restart_body_time(self) -> None:
        if not self._peer_ended and not self.read_pauses and not self.write_paused:
            deadlines = self._runtime.deadlines
            deadlines.set(self, deadlines.recent + self._runtime.timeouts.body)

    # For the exchange: see `Downstream`.

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

    def _drop_held(self) -> None:
        if self._held is not None:
            size, self._held, self._held_size = self._held_size, None, 0
            self._engine.consume(self.number, size)
