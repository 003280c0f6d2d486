"""A client's HTTP/2 connection: reads its streams, begins an exchange for each, and sends what they send.

What is received at once is taken in as a whole before anything is sent, so that the responses to it leave in
one write; what exchanges send later is gathered for one turn of the event loop.

Nothing here grows with what a client does: streams by the limit that it is told; what is received and not
consumed by the windows; what waits to be sent by the marks of each stream and of all together, beyond which
endpoints are not read; frames that bring nothing forward, and requests that end badly, by a budget. While
the connection itself takes nothing, nothing is read of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.peers import find_peer
from ingresskit.proxy.exchange.replies import LocalReply, count_reply
from ingresskit.proxy.h2.budget import Budget
from ingresskit.proxy.h2.engine import EngineLimits, ErrorCode
from ingresskit.proxy.h2.libraries import make_engine
from ingresskit.proxy.h2.requests import H2RequestHead, Malformed, RequestReader, read_trailers
from ingresskit.proxy.h2.responses import local_reply
from ingresskit.proxy.h2.stream import H2Stream
from ingresskit.proxy.limits.crowd import Owner, owner_of
from ingresskit.proxy.message.head import BadRequest
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.sockets import half_close, has_left

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.h2.engine import Engine, Fields
    from ingresskit.proxy.h2.inbound import InboundStream
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.message.forwarded import Address, Peer
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["H2Connection", "engine_limits"]

_END_PING: Final = b"draining"
_LINGER_SECONDS: Final = 2.0
# Of all streams together; beyond it only those go on of which nothing waits, until it is down to a quarter.
_MOST_WAITING: Final = 1 << 20
# Requests that end badly, by resets or by being malformed, while an endpoint worked on them or might have.
_BAD_ENDS: Final = 200
_BAD_ENDS_PER_SECOND: Final = 20.0


def engine_limits(settings: ProxySettings) -> EngineLimits:
    """The limits of clients' connections."""
    # A head that is a little too large gets a 431; one that is far too large ends its connection. Each field
    # counts for 32 octets more there than it has.
    fields = 2 * settings.max_headers
    return EngineLimits(
        max_streams=settings.http2_max_streams,
        max_field_bytes=2 * settings.max_header_bytes + 32 * fields,
        max_fields=fields,
        connect_protocol=True,
    )


class H2Connection(asyncio.Protocol):
    """A connection from a client: a `ClientConnection`.

    Attributes:
        engine: Its frames.
        runtime: What exchanges share.
        write_paused: The client takes nothing at the moment.
        is_full: Too much waits for the client.
    """

    __slots__ = (
        *("_admission", "_bad_ends", "_bounded", "_charged", "_clients", "_closed", "_dirty", "_draining"),
        *("_held", "_host", "_loop", "_owner", "_peer", "_proxied", "_reader", "_receiving", "_scheduled"),
        *("_streams", "_tls", "_waiting", "bucket", "deadline", "engine", "is_full", "runtime", "transport"),
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        admission: Admission,
        clients: Clients,
        limits: EngineLimits,
        *,
        tls: bool,
        proxied: tuple[Address, int] | None = None,
    ) -> None:
        self.runtime: Runtime = admission.runtime
        self.engine: Engine = make_engine(self, limits, server=True)
        self.write_paused: bool = False
        self.is_full: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self._admission = admission
        self._clients = clients
        self._tls = tls
        self._proxied = proxied
        self._peer: Peer | None = None
        self._owner: Owner | None = None
        self._bounded = True
        self._reader = RequestReader(self.runtime.settings)
        self._host: RequestedHost | None = None
        self._bad_ends = Budget(_BAD_ENDS, _BAD_ENDS_PER_SECOND)
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

    # For the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        runtime, clients = self.runtime, self._clients
        counters = runtime.counters
        self.transport = cast(asyncio.Transport, transport)
        clients.made(self)
        counters.connections_total += 1
        counters.http2_connections_total += 1
        peer = self._peer = find_peer(self.transport, self._admission, tls=self._tls, proxied=self._proxied)
        if peer is None or runtime.draining:
            counters.connections_refused += runtime.draining
            self._cut()
            return
        owner = owner_of(peer.address)
        if not clients.crowd.has_room(owner, tls=self._tls):
            counters.connections_total -= 1  # which the next line counts too
            clients.refused()
            self._cut()
            return
        clients.crowd.add(self, owner, tls=self._tls)
        self._owner = owner
        self._bounded = not peer.trusted
        self.transport.set_write_buffer_limits(high=runtime.settings.buffer_bytes)
        deadlines = runtime.deadlines
        deadlines.set(self, deadlines.now() + runtime.timeouts.header)
        self._flush()

    @override
    def data_received(self, data: bytes) -> None:
        runtime = self.runtime
        runtime.counters.received_bytes += len(data)
        runtime.deadlines.now()
        if self._closed:
            return
        self._receiving = True
        try:
            self.engine.receive(data)
            for stream in list(self._dirty):
                stream.go_on()
        finally:
            self._receiving = False
        self._flush()

    @override
    def eof_received(self) -> bool:
        self.transport.abort() if self._streams else self.transport.close()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        clients, deadlines = self._clients, self.runtime.deadlines
        deadlines.now()
        deadlines.forget(self)
        clients.lost(self)
        streams, self._streams = self._streams, {}
        self._dirty.clear()
        self._waiting.clear()
        for stream in streams.values():
            stream.closed()
        self.runtime.counters.http2_streams_open -= len(streams)
        if self._owner is not None:
            clients.crowd.discard(self, self._owner, tls=self._tls)
            if self._charged:
                self._charged = 0
                clients.memory.charge(self, self._owner, 0, bounded=False)

    @override
    def pause_writing(self) -> None:
        self.write_paused = True
        if not self.transport.is_closing():
            # What is read would only ask for more to be written.
            self.transport.pause_reading()
        deadlines = self.runtime.deadlines
        deadlines.set(self, deadlines.now() + self.runtime.timeouts.client_write)

    @override
    def resume_writing(self) -> None:
        self.write_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
        self.runtime.deadlines.now()
        self._restart_deadline()
        self._schedule()

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.write_paused or self._closed:
            for stream in self._streams.values():
                stream.timed_out = True
            self.transport.abort()
        elif not self._streams:
            self._end_politely()

    # For the limits, and for the proxy when it stops.

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
            self.engine.ping(_END_PING)  # its response comes after all that was on its way
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

    # For the engine: see `EngineReceiver`.

    def headers(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """As `EngineReceiver.headers`: a request."""
        peer = self._peer
        assert peer is not None  # noqa: S101 - set before anything is read
        self.runtime.counters.http2_streams_open += 1
        head = _NO_HEAD
        refusal: Exception | None = None
        try:
            head = self._reader.read(fields, ended=ended)
        except (Malformed, BadRequest) as exc:
            refusal = exc
        made = self._streams[stream] = H2Stream(self, stream, head, ended=ended)
        self._dirty[made] = None
        if isinstance(refusal, BadRequest):
            self._refuse(made, refusal)
            return
        if refusal is not None:
            self._count_refusal(BadRequest(400, str(refusal)), 0)
            self.engine.reset(stream, ErrorCode.PROTOCOL_ERROR)
            self._spend()
            return
        try:
            host = self._host
            if host is None or host.raw != head.host:
                host = self._host = RequestedHost(head.host)
            result = self._admission.admit(made, peer, head, host)
        except BadRequest as exc:
            self._refuse(made, exc)
            return
        if isinstance(result, LocalReply):
            size = made.send_local_reply(result.status, location=result.location, fields=result.fields)
            count_reply(self.runtime, peer, head.method, result, size, 0.0, head.protocol)
            made.finish()
        elif head.upgrade:
            made.begin_tunnel_request(result)
        else:
            made.begin(result)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """As `EngineReceiver.data`."""
        if (known := self._streams.get(stream)) is not None:
            self._dirty[known] = None
            known.data(data, ended=ended)

    def trailers(self, stream: int, fields: Fields) -> None:
        """As `EngineReceiver.trailers`."""
        if (known := self._streams.get(stream)) is None:
            return
        self._dirty[known] = None
        try:
            lines = read_trailers(fields)
        except Malformed:
            known.malformed("The request has a wrong trailer.")
            self._spend()
            return
        known.trailers(lines)

    def interim(self, stream: int, fields: Fields) -> None:
        """Clients send none."""

    def stream_closed(self, stream: int, code: int) -> None:
        """As `EngineReceiver.stream_closed`."""
        known = self._streams.pop(stream, None)
        if known is None:
            return
        self._dirty.pop(known, None)
        self._waiting.pop(known, None)
        if code and known.is_served:
            self._spend()
        known.closed()
        self.runtime.counters.http2_streams_open -= 1
        if not self._streams:
            self._restart_deadline()

    def window_opened(self, stream: int) -> None:
        """As `EngineReceiver.window_opened`."""
        if stream:
            if (known := self._streams.get(stream)) is not None and known.is_waiting:
                self._dirty[known] = None
        else:
            self._dirty |= self._waiting

    def settings_received(self) -> None:
        """Nothing of the client's settings matters to streams."""

    def ping_acknowledged(self, payload: bytes) -> None:
        """The client has received all that was said before it."""
        if payload == _END_PING and self._draining:
            self.engine.go_away()

    def going_away(self, last: int, code: int) -> None:
        """The client opens no more streams: what is open goes on."""

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

    # Requests that are not served.

    def _refuse(self, made: H2Stream, refusal: BadRequest) -> None:
        """Respond to a request that was read and is refused."""
        self._count_refusal(refusal, made.send_whole(*local_reply(refusal.status, sentence=str(refusal))))
        made.finish()

    def _count_refusal(self, refusal: BadRequest, size: int) -> None:
        if self._peer is not None:
            reply = LocalReply(refusal.status, Termination.BAD_REQUEST, detail=str(refusal))
            count_reply(self.runtime, self._peer, b"", reply, size, 0.0, H2RequestHead.protocol)

    def _spend(self) -> None:
        if not self._bad_ends.spend(1):
            self.engine.terminate(ErrorCode.ENHANCE_YOUR_CALM)

    # The end.

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


_NO_HEAD: Final = H2RequestHead(b"GET", b"/", False, b"")
