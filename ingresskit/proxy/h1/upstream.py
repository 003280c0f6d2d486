"""One connection to an endpoint: reads answers, knows nothing of clients.

It is idle in the pool, or it serves exactly one exchange, or it is one end of a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.graph import Protocol
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h1.bodies import Body, BodyError, ChunkedBody, LengthBody, UntilClose
from ingresskit.proxy.h1.heads import BadAnswer, ResponseHead, ResponseReader

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.exchange import Exchange
    from ingresskit.proxy.exchange.tunnel import Tunnel
    from ingresskit.proxy.plane import Plane
    from ingresskit.proxy.upstreams.pool import EndpointState

__all__ = ["UpstreamConnection"]

_MOST_INTERIM: Final = 256  # in a second: more is no sign of life


class UpstreamConnection(asyncio.Protocol):
    """A connection to an endpoint.

    Attributes:
        server_name: The TLS server name it was made with; empty for plain HTTP.
        reused: It has served an exchange before the present one.
        heard: Something was received in the present exchange.
        reusable: The present answer ended where it should, and the endpoint wants to go on.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_interim",
        "_interim_since",
        "_plane",
        "_reader",
        "_reading",
        "bucket",
        "deadline",
        "endpoint",
        "exchange",
        "heard",
        "idle_since",
        "reusable",
        "reused",
        "server_name",
        "transport",
        "tunnel",
    )

    transport: asyncio.Transport

    def __init__(self, plane: Plane, endpoint: EndpointState, server_name: str) -> None:
        self._plane = plane
        self.endpoint: EndpointState = endpoint
        self.server_name: str = server_name
        self.exchange: Exchange | None = None
        self.tunnel: Tunnel | None = None
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self.idle_since: float = 0.0
        self.reused: bool = False
        self.heard: bool = False
        self.reusable: bool = False
        self._reader = ResponseReader(plane.settings)
        self._buffer = b""
        self._body: Body | None = None
        self._interim = 0
        self._interim_since = 0.0
        self._reading = True

    # For the exchange and the pool.

    def serve(self, exchange: Exchange, data: bytes, deadline: float) -> None:
        """Begin an exchange by sending *data*; *deadline* is for the answer, or `NEVER`."""
        self.exchange = exchange
        self.heard = False
        self.reusable = False
        self._body = None
        self._buffer = b""
        self._interim = 0
        self._plane.deadlines.set(self, deadline)
        self.transport.write(data)

    def rest(self, now: float, until: float) -> None:
        """The exchange is over; keep quiet until *until*."""
        self.exchange = None
        self.reused = True
        self.idle_since = now
        if not self._reading:
            self.resume_reading()
        self._plane.deadlines.set(self, until)

    def write(self, data: bytes) -> None:
        """Send more of the request."""
        self.transport.write(data)

    def wait_for_answer(self, timeout: float) -> None:
        """From now on silence counts."""
        deadlines = self._plane.deadlines
        deadlines.set(self, deadlines.recent + timeout)

    def pause_reading(self) -> None:
        """Take no more of the answer; silence does not count meanwhile."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()
            self._plane.deadlines.set(self, NEVER)

    def resume_reading(self) -> None:
        """Undo `pause_reading`; the exchange sets the deadline."""
        if not self._reading:
            self._reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def close(self) -> None:
        """End the connection; nothing is reported to the exchange any more."""
        self.exchange = None
        self._plane.deadlines.forget(self)
        self.transport.abort()

    def abort(self) -> None:
        """Cut the connection; the exchange is told."""
        self.transport.abort()

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.tunnel is not None:
            self.tunnel.timed_out()
        elif self.exchange is not None:
            self.exchange.endpoint_timed_out()
        else:
            self.transport.abort()

    # For the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._plane.settings.buffer_bytes)
        self._plane.pool.opened(self)

    @override
    def data_received(self, data: bytes) -> None:
        self._plane.deadlines.now()
        exchange = self.exchange
        if exchange is None:
            if self.tunnel is not None:
                self.tunnel.from_endpoint(data)
            else:
                # Unasked-for bytes on an idle connection would become the answer to the next request.
                self.transport.abort()
            return
        self.heard = True
        body = self._body
        if body is None:
            self._read_head(exchange, data)
            return
        try:
            payload, rest = body.take(data)
        except BodyError as exc:
            exchange.answer_broken(f"the body {exc}")
            return
        if body.complete:
            self.reusable = self.reusable and not rest
            exchange.answer_data(payload, complete=True)
        elif payload:
            exchange.answer_data(payload, complete=False)

    @override
    def eof_received(self) -> bool:
        if self.tunnel is not None:
            return self.tunnel.endpoint_ended()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.deadlines.now()
        if exc is not None and self.exchange is not None:
            self._read_what_is_left()
        self._plane.deadlines.forget(self)
        self._plane.pool.lost(self)
        exchange, tunnel = self.exchange, self.tunnel
        if tunnel is not None:
            tunnel.endpoint_lost()
            self.tunnel = None  # which refers to this connection
        elif exchange is not None:
            self.exchange = None
            self.reusable = False
            if exc is None and isinstance(self._body, UntilClose):
                exchange.answer_data(b"", complete=True)
            else:
                exchange.endpoint_lost(self)

    @override
    def pause_writing(self) -> None:
        self._plane.deadlines.now()
        if self.tunnel is not None:
            self.tunnel.pause_client()
        elif self.exchange is not None:
            self.exchange.endpoint_is_full()

    @override
    def resume_writing(self) -> None:
        self._plane.deadlines.now()
        if self.tunnel is not None:
            self.tunnel.resume_client()
        elif self.exchange is not None:
            self.exchange.endpoint_has_room()

    def _read_what_is_left(self) -> None:
        """Read an answer that the kernel still has, from an endpoint that answered early and left.

        That it left is noticed by writing to it. asyncio then gives the connection up unread, and closes
        the socket after this; uvloop reads before it writes, and has closed it already. Inside TLS there
        is nothing to be had without its transport.
        """
        connection = self.transport.get_extra_info("socket")
        if self.endpoint.protocol is Protocol.HTTPS or not isinstance(connection, TransportSocket):
            return
        with contextlib.suppress(OSError), connection.dup() as left:
            while self.exchange is not None and (data := left.recv(65536, socket.MSG_DONTWAIT)):
                self.data_received(data)

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        try:
            while True:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._hold(data)
                    return
                if end + 4 > self._plane.settings.max_response_header_bytes:
                    raise BadAnswer("header too large")
                head = self._reader.read(data[: end + 4])
                data = data[end + 4 :]
                if head.status >= 200 or head.status == 101:
                    break
                self._count_interim()
                exchange.interim_answer(head)
                if self.exchange is not exchange:
                    return
                if not data:
                    self._buffer = b""
                    return
            self._buffer = b""
            if head.status == 101:
                exchange.switch_protocols(head, data)
                return
            payload, complete = self._begin_body(head, data, head_only=exchange.head_only)
        except BadAnswer as exc:
            exchange.answer_broken(str(exc))
            return
        except BodyError as exc:
            exchange.answer_broken(f"the body {exc}")
            return
        exchange.answer(head, payload, complete=complete)

    def _count_interim(self) -> None:
        # Long work may send any number of them. A flood of them serves nobody.
        now = self._plane.deadlines.recent
        if now >= self._interim_since + 1:
            self._interim_since, self._interim = now, 0
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise BadAnswer("flood of interim responses")

    def _begin_body(self, head: ResponseHead, data: bytes, *, head_only: bool) -> tuple[bytes, bool]:
        """Work out how the answer ends (RFC 9112, 6.3), and read what is there of it."""
        body: Body
        self.reusable = head.keep_alive and not head.binds
        if data and len(data) == head.length and not head_only and head.status not in (204, 304):
            return data, True  # small answers are here with their head
        if head_only or head.status in (204, 304):
            body = LengthBody(0)
            if head.length or head.chunked:
                # It announced a body that must not come. Should it come all the same, and late, it
                # would be read as the answer to somebody else's request.
                self.reusable = False
        elif head.chunked:
            body = ChunkedBody()
        elif head.length is not None:
            body = LengthBody(head.length)
        else:
            body = UntilClose()
            self.reusable = False
        self._body = body
        if not data:
            return b"", body.complete
        payload, rest = body.take(data)
        if rest:
            self.reusable = False
        return payload, body.complete

    def _hold(self, data: bytes) -> None:
        if len(data) > self._plane.settings.max_response_header_bytes:
            raise BadAnswer("header too large")
        if data.count(b"\n") - data.endswith(b"\n") > data.count(b"\r"):
            raise BadAnswer("bare LF")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise BadAnswer("not HTTP/1")
        self._buffer = data
