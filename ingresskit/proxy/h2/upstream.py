"""One HTTP/2 connection to an endpoint, and the streams that it lends: each carries one exchange.

What concerns one stream (a reset, a response that is malformed) costs that stream; what concerns the connection
costs all that are open. An endpoint that goes away (GOAWAY) keeps those that it says it will still serve; the
others, and those that it refuses, were not processed, which `Upstream.unprocessed` says: they may be tried
again whatever their method.

A response that its client does not take is held up to the window of its stream, and its octets are not given
back, so that the endpoint stops. The window of the connection is that of all its streams together: a client
that takes nothing holds up nobody else.

A connection on which streams wait and nothing arrives is asked for a sign of life with a PING, seldom enough
for servers of gRPC, which end connections that are asked more often than they like (every five minutes while
they send nothing); without one its streams are lost.

Source: RFC 9113; gRPC, "Client-side Keepalive" (gRFC A8).
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h2.engine import EngineLimits, ErrorCode
from ingresskit.proxy.h2.libraries import make_engine
from ingresskit.proxy.h2.upstream_stream import H2Stream
from ingresskit.proxy.ports.connections import ConnectFailed

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.h2.engine import Engine, Fields
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.upstreams.pool import Pool

__all__ = ["MOST_STREAMS", "H2Upstream"]

MOST_STREAMS: Final = 100
"""Streams of one connection at a time; fewer where the endpoint says so. Further requests take another one."""

_WINDOW: Final = 131_072
# Seconds without anything from an endpoint that owes us something, before it is asked; how long it may think
# about that; and how long after it was asked it is asked again although it sent nothing else.
_SILENCE: Final = 30.0
_PING_TIMEOUT: Final = 10.0
_PING_GAP: Final = 310.0
_PING: Final = b"ingressk"
# Servers of gRPC send a PING for each round trip while data flows, to learn how much they may send.
_BURST: Final = 100_000


class H2Upstream(asyncio.Protocol):
    """A connection to an endpoint: an `UpstreamConnection` that lends many streams.

    Attributes:
        server_name: The TLS server name it was made with; empty for plain HTTP.
        is_secure: It is inside TLS.
    """

    __slots__ = (
        "_asked_at",
        "_blocked",
        "_deadlines",
        "_going",
        "_heads",
        "_idle_timeout",
        "_last_received",
        "_lent",
        "_lost",
        "_most",
        "_offered",
        "_pool",
        "_ready",
        "_receiving",
        "_requests",
        "_settings",
        "_slow",
        "_streams",
        "_until",
        "_used",
        "_waits_for_ping",
        "bucket",
        "deadline",
        "endpoint",
        "engine",
        "is_secure",
        "server_name",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        settings: ProxySettings,
        deadlines: Deadlines,
        idle_timeout: float,
        pool: Pool,
        endpoint: EndpointState,
        server_name: str,
    ) -> None:
        self._settings = settings
        self._deadlines = deadlines
        self._idle_timeout = idle_timeout
        self._requests: float = math.inf
        self._until: float = math.inf
        if (keepalive := endpoint.use.keepalive) is not None:
            if keepalive.timeout is not None:
                self._idle_timeout = keepalive.timeout.total_seconds()
            if keepalive.lifetime is not None:
                self._until = deadlines.now() + keepalive.lifetime.total_seconds()
            self._requests = keepalive.requests or math.inf
        self._pool = pool
        self.endpoint: EndpointState = endpoint
        self.server_name: str = server_name
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self._streams: dict[int, H2Stream] = {}
        self.is_secure: bool = endpoint.protocol.is_secure
        self._most = MOST_STREAMS
        self._lent = 0  # streams, those among them that have not begun
        self._used = False
        self._offered = False  # the pool has it
        self._going = False  # it takes no more streams
        self._lost = False
        self._receiving = False
        self._blocked = False  # the socket takes no more at the moment
        self._slow: set[H2Stream] = set()  # whose requests wait for the endpoint
        self._heads: list[H2Stream] = []  # whose responses began in what is being read
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_received = deadlines.recent
        self._asked_at = -NEVER
        self._waits_for_ping = False
        most = settings.max_response_headers
        self.engine: Engine = make_engine(
            self,
            EngineLimits(
                stream_window=_WINDOW,
                connection_window=_WINDOW * MOST_STREAMS,
                max_field_bytes=settings.max_response_header_bytes + 32 * most,
                max_fields=most + 1,
                burst=_BURST,
                per_second=_BURST,
            ),
            server=False,
        )

    async def wait_ready(self) -> None:
        """Wait for the settings of the endpoint, which are the first that it sends.

        Raises:
            ConnectFailed: It does not speak HTTP/2, or closed the connection.
        """
        await self._ready

    # For the pool.

    @property
    def has_room(self) -> bool:
        """As `UpstreamConnection.has_room`."""
        return self._lent < self._most and not self._going and not self._lost

    @property
    def idle_since(self) -> float:
        """As `UpstreamConnection.idle_since`: an endpoint that closes says so first."""
        return self._deadlines.recent

    def lend(self) -> H2Stream | None:
        """As `UpstreamConnection.lend`."""
        if not self.has_room or self.transport.is_closing():
            return None
        if self._requests <= 0 or self._deadlines.recent >= self._until:
            self.retire()
            return None
        self._requests -= 1
        self._lent += 1
        if self._lent == 1:
            self._last_received = now = self._deadlines.recent
            self._deadlines.set(self, now + _SILENCE)
        self._offered = self.has_room
        reused, self._used = self._used, True
        return H2Stream(self, self._deadlines, reused=reused)

    def retire(self) -> None:
        """As `UpstreamConnection.retire`."""
        self._going = True
        self._close_when_done()

    def abort(self) -> None:
        """As `UpstreamConnection.abort`."""
        self.transport.abort()

    # For its streams.

    @property
    def max_headers(self) -> int:
        """Fields in the head of a response."""
        return self._settings.max_response_headers

    @property
    def buffer_bytes(self) -> int:
        """What may wait to be sent of one request."""
        return self._settings.buffer_bytes

    def begun(self, stream: H2Stream, number: int) -> None:
        """A stream has got its number."""
        self._streams[number] = stream

    def slow(self, stream: H2Stream) -> None:
        """The endpoint takes less of a request than there is."""
        self._slow.add(stream)

    def done(self, stream: H2Stream) -> None:
        """A stream is over, and its exchange knows."""
        self._streams.pop(stream.number, None)
        self._slow.discard(stream)
        self._lent -= 1
        if self._lost:
            return
        if not self._lent:
            self._deadlines.set(self, self._deadlines.recent + self._idle_timeout)
        if self._going:
            self._close_when_done()
        elif not self._offered and self.has_room:
            self._offered = True
            self._pool.returned(self)

    def flush(self) -> None:
        """Send what there is to be sent."""
        if self._receiving or self._blocked or self._lost:
            return
        engine = self.engine
        if data := engine.output():
            self.transport.write(data)
        if engine.is_over:
            self.transport.close()
        elif self._slow:
            self._look_at_slow()

    # For the event loop.

    def deadline_passed(self) -> None:
        """For `Deadlines`: it was idle for long enough, or its endpoint is silent."""
        if not self._lent:
            self.retire()
            return
        now = self._deadlines.recent
        due = self._last_received + _SILENCE
        if self._waits_for_ping and now >= self._asked_at + _PING_TIMEOUT:
            self.transport.abort()
            return
        if now >= due and now >= self._asked_at + _PING_GAP:
            self._waits_for_ping = True
            self._asked_at = now
            self.engine.ping(_PING)
            self.flush()
            due = now + _PING_TIMEOUT
        elif now >= due:
            due = self._asked_at + (_PING_TIMEOUT if self._waits_for_ping else _PING_GAP)
        self._deadlines.set(self, due)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._settings.buffer_bytes)
        self._pool.opened(self)
        self._deadlines.set(self, self._deadlines.recent + self._idle_timeout)
        self.flush()

    @override
    def data_received(self, data: bytes) -> None:
        self._last_received = self._deadlines.now()
        self._waits_for_ping = False
        self._receiving = True
        try:
            self.engine.receive(data)
            self._begin_responses()
        finally:
            self._receiving = False
        self.flush()

    @override
    def pause_writing(self) -> None:
        self._blocked = True

    @override
    def resume_writing(self) -> None:
        self._blocked = False
        self._deadlines.now()
        self.flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._deadlines.now()
        self._deadlines.forget(self)
        self._pool.lost(self)
        if not self._ready.done():
            detail = self.engine.reason or "connection closed before settings of HTTP/2"
            self._ready.set_exception(ConnectFailed(Termination.UPSTREAM_REFUSED, detail))
            self._ready.exception()  # whoever wanted it may have gone
        for stream in list(self._streams.values()):
            stream.connection_lost()
        self._streams.clear()

    # For the engine: see `EngineReceiver`.

    def headers(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """As `EngineReceiver.headers`."""
        if (found := self._streams.get(stream)) is not None:
            found.begin(fields, ended=ended)
            self._heads.append(found)

    def interim(self, stream: int, fields: Fields) -> None:
        """As `EngineReceiver.interim`."""
        if (found := self._streams.get(stream)) is not None:
            found.interim(fields)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """As `EngineReceiver.data`."""
        if (found := self._streams.get(stream)) is not None:
            found.data(data, ended=ended)
        else:
            self.engine.consume(stream, len(data))

    def trailers(self, stream: int, fields: Fields) -> None:
        """As `EngineReceiver.trailers`."""
        if (found := self._streams.get(stream)) is not None:
            found.trailers(fields)

    def stream_closed(self, stream: int, code: int) -> None:
        """As `EngineReceiver.stream_closed`."""
        if (found := self._streams.get(stream)) is not None:
            found.closed(unprocessed=code == ErrorCode.REFUSED_STREAM)

    def window_opened(self, stream: int) -> None:
        """As `EngineReceiver.window_opened`; `flush`, which follows, looks at those that wait."""

    def settings_received(self) -> None:
        """As `EngineReceiver.settings_received`."""
        self._most = min(MOST_STREAMS, self.engine.peer_max_streams)
        if not self._ready.done():
            self._ready.set_result(None)
        if not self._offered and self.has_room and self._lent:
            self._offered = True
            self._pool.returned(self)

    def ping_acknowledged(self, payload: bytes) -> None:
        """As `EngineReceiver.ping_acknowledged`: whatever arrives is a sign of life."""

    def going_away(self, last: int, code: int) -> None:
        """As `EngineReceiver.going_away`."""
        self._going = True
        for number in [number for number in self._streams if number > last]:
            self._streams[number].closed(unprocessed=True)
        self._close_when_done()

    def _begin_responses(self) -> None:
        """Pass on the heads of responses whose body did not come with them."""
        if self._heads:
            heads, self._heads = self._heads, []
            for stream in heads:
                stream.pass_head()

    def _look_at_slow(self) -> None:
        for stream in list(self._slow):
            if stream.unsent_bytes <= self.buffer_bytes // 2:
                self._slow.discard(stream)
                stream.taken()

    def _close_when_done(self) -> None:
        if self._lent or self._lost:
            return
        self._deadlines.forget(self)
        self.engine.terminate(ErrorCode.NO_ERROR)
        self.flush()
