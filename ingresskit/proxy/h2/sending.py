"""What the streams of a client's HTTP/2 connection send: gathered, written, and bounded.

The responses to what was received at once leave in one write; what exchanges send later is gathered for one
turn of the event loop. What waits for the client is accounted for, and beyond a mark of all streams together
only those go on of which nothing waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.limits.crowd import Owner
from ingresskit.proxy.sockets import half_close, has_left

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.h2.engine import Engine
    from ingresskit.proxy.h2.inbound import InboundStream
    from ingresskit.proxy.h2.stream import H2Stream
    from ingresskit.proxy.limits.clients import Clients

__all__ = ["END_PING", "H2Sending"]

END_PING: Final = b"draining"
"""Its acknowledgment comes after all that was on its way when the client was told of the end."""
_LINGER_SECONDS: Final = 2.0
# Of all streams together; beyond it only those go on of which nothing waits, until it is down to a quarter.
_MOST_WAITING: Final = 1 << 20


class H2Sending:
    """The half of a client's connection that sends, and ends it; a subclass reads.

    It is the `StreamOwner` of its streams and a `ClientConnection`. The other half inherits from it, since an
    object more, or a call more at every step, would be noticed.

    Attributes:
        engine: Its frames.
        runtime: What exchanges share.
        write_paused: The client takes nothing at the moment.
        is_full: Too much waits for the client.
    """

    __slots__ = (
        *("_bounded", "_charged", "_clients", "_closed", "_dirty", "_draining", "_held", "_loop", "_owner"),
        *("_receiving", "_scheduled", "_streams", "_tls", "_waiting", "bucket", "deadline", "engine"),
        *("is_full", "runtime", "transport", "write_paused"),
    )

    transport: asyncio.Transport

    def __init__(self, runtime: Runtime, clients: Clients, engine: Engine, *, tls: bool) -> None:
        self.runtime: Runtime = runtime
        self.engine: Engine = engine
        self.write_paused: bool = False
        self.is_full: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self._clients = clients
        self._tls = tls
        self._owner: Owner | None = None
        self._bounded = True
        self._streams: dict[int, H2Stream] = {}
        self._dirty: dict[InboundStream, None] = {}  # those that gave something to the engine
        self._waiting: dict[InboundStream, None] = {}  # those of which something waits for the client
        self._held = 0  # octets that streams hold of their requests
        self._charged = 0
        self._receiving = False
        self._scheduled = False
        self._draining = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    # For streams: see `StreamOwner`.

    def touch(self, stream: InboundStream) -> None:
        """As `StreamOwner.touch`."""
        self._dirty[stream] = None
        self._schedule()

    def push(self, stream: InboundStream) -> None:
        """As `StreamOwner.push`."""
        self._dirty[stream] = None
        if not self._receiving:
            self._flush()

    def hold(self, change: int) -> None:
        """As `StreamOwner.hold`."""
        self._held += change
        self._recharge()

    def stream_over(self, stream: InboundStream) -> None:
        """As `StreamOwner.stream_over`."""
        self._waiting.pop(stream, None)

    def has_left(self) -> bool:
        """As `StreamOwner.has_left`."""
        return self._closed or has_left(self.transport)

    # Sending.

    def pause_writing(self) -> None:
        """As `asyncio.Protocol.pause_writing`."""
        self.write_paused = True
        if not self.transport.is_closing():
            # What is read would only ask for more to be written.
            self.transport.pause_reading()
        deadlines = self.runtime.deadlines
        deadlines.set(self, deadlines.now() + self.runtime.timeouts.client_write)

    def resume_writing(self) -> None:
        """As `asyncio.Protocol.resume_writing`."""
        self.write_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
        self.runtime.deadlines.now()
        self._restart_deadline()
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self._receiving:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what may be sent, and let the streams that it is of settle."""
        self._scheduled = False
        if self._closed:
            return
        engine = self.engine
        while True:
            if not self.write_paused and (data := engine.output()):
                self.runtime.counters.sent_bytes += len(data)
                self.transport.write(data)
            if engine.is_over:
                self._close()
                return
            if not self._dirty:
                break
            dirty, self._dirty = self._dirty, {}
            self._receiving = True  # what they do is sent by this loop
            try:
                for stream in dirty:
                    stream.settle()
                    if stream.is_waiting and stream.number in self._streams:
                        self._waiting[stream] = None
                    else:
                        self._waiting.pop(stream, None)
            finally:
                self._receiving = False
            self._judge_fullness()
            if self.write_paused:
                break
        self._recharge()
        if self.runtime.draining and not self._streams:
            self._end_politely()

    def _judge_fullness(self) -> None:
        waiting = self.engine.queued(0) if self._waiting or self.is_full else 0
        if not self.is_full and waiting > _MOST_WAITING:
            self.is_full = True
            self._dirty |= self._waiting
        elif self.is_full and waiting <= _MOST_WAITING // 4:
            self.is_full = False
            self._dirty |= self._waiting

    def _recharge(self) -> None:
        """Account for what the proxy holds for this client; may give this connection up, or others."""
        if self._owner is None or self._closed:
            return
        size = self._held
        if self._waiting:
            size += self.engine.queued(0)
        if self.write_paused:
            size += self.transport.get_write_buffer_size()
        if size != self._charged:
            self._charged = size
            self._clients.memory.charge(self, self._owner, size, bounded=self._bounded)

    def _restart_deadline(self) -> None:
        deadlines, timeouts = self.runtime.deadlines, self.runtime.timeouts
        if self.write_paused:
            deadlines.set(self, deadlines.recent + timeouts.client_write)
        elif self._streams:
            deadlines.set(self, NEVER)
        else:
            deadlines.set(self, deadlines.recent + timeouts.idle)

    # The end: for the limits, and for the proxy when it stops.

    @property
    def is_idle(self) -> bool:
        """Whether its client loses nothing when it ends."""
        return not self._streams

    def drain(self) -> None:
        """Close now when idle; else take what is on its way, finish what is open, and close."""
        if not self._streams:
            self._end_politely()
        elif not self._draining:
            self._draining = True
            self.engine.announce_end()
            self.engine.ping(END_PING)  # its response comes after all that was on its way
            self._schedule()

    def give_up(self, reason: str) -> None:
        """End it to make room for others; *reason* is the limit that was reached."""
        if self._closed:
            return
        self._clients.given_up(reason)
        for stream in self._streams.values():
            stream.given_up = True
        if self._streams:
            self._cut()
        else:
            self._end_politely()

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.write_paused or self._closed:
            for stream in self._streams.values():
                stream.timed_out = True
            self.transport.abort()
        elif not self._streams:
            self._end_politely()

    def _end_politely(self) -> None:
        if not self._closed:
            self.engine.go_away()
            if not self.write_paused and (data := self.engine.output()):
                self.transport.write(data)
            self._close()

    def _close(self) -> None:
        """Close when all is sent that was written; streams that are open are cut."""
        self._closed = True
        runtime = self.runtime
        streams, self._streams = self._streams, {}
        runtime.counters.http2_streams_open -= len(streams)
        for stream in streams.values():
            stream.closed()
        self._dirty.clear()
        self._waiting.clear()
        deadlines = runtime.deadlines
        if not self._tls and half_close(self.transport):
            # Closing with octets unread would reset the connection, and the last words might be lost.
            deadlines.set(self, deadlines.now() + _LINGER_SECONDS)
        else:
            self.transport.close()
            deadlines.set(self, deadlines.now() + runtime.timeouts.client_write)

    def _cut(self) -> None:
        self._closed = True
        self.transport.abort()
