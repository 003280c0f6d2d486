"""A client's HTTP/2 connection: reads its streams, begins an exchange for each, and sends what they send.

What is received at once is taken in as a whole before anything is sent, so that the responses to it leave in
one write: see `ingresskit.proxy.h2.sending`.

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
from ingresskit.proxy.exchange.peers import find_peer
from ingresskit.proxy.exchange.replies import LocalReply, count_reply
from ingresskit.proxy.h2.budget import Budget
from ingresskit.proxy.h2.engine import EngineLimits, ErrorCode
from ingresskit.proxy.h2.libraries import make_engine
from ingresskit.proxy.h2.requests import H2RequestHead, Malformed, RequestReader, read_trailers
from ingresskit.proxy.h2.responses import local_reply
from ingresskit.proxy.h2.sending import END_PING, H2Sending
from ingresskit.proxy.h2.stream import H2Stream
from ingresskit.proxy.limits.crowd import owner_of
from ingresskit.proxy.message.head import BadRequest
from ingresskit.proxy.message.hosts import RequestedHost

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission
    from ingresskit.proxy.h2.engine import Fields
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.message.forwarded import Address, Peer
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["H2Connection", "engine_limits"]

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


class H2Connection(H2Sending, asyncio.Protocol):
    """A connection from a client: a `ClientConnection`."""

    __slots__ = ("_admission", "_bad_ends", "_host", "_peer", "_proxied", "_reader")

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
        super().__init__(admission.runtime, clients, make_engine(self, limits, server=True), tls=tls)
        self._admission = admission
        self._proxied = proxied
        self._peer: Peer | None = None
        self._reader = RequestReader(self.runtime.settings)
        self._host: RequestedHost | None = None
        self._bad_ends = Budget(_BAD_ENDS, _BAD_ENDS_PER_SECOND)

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
        if payload == END_PING and self._draining:
            self.engine.go_away()

    def going_away(self, last: int, code: int) -> None:
        """The client opens no more streams: what is open goes on."""

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


_NO_HEAD: Final = H2RequestHead(b"GET", b"/", False, b"")
