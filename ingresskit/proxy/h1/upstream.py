"""One HTTP/1.1 connection to an endpoint: writes requests, reads responses, knows nothing of clients.

It is idle in the pool, or it carries exactly one exchange, or it is one end of a tunnel. So it is its own
stream: it lends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.graph import Protocol
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h1.bodies import Body, BodyError, UntilClose, response_body
from ingresskit.proxy.h1.heads import ResponseReader
from ingresskit.proxy.h1.octets import body_octets, request_octets
from ingresskit.proxy.message.head import BadResponse, ResponseHead
from ingresskit.proxy.sockets import half_close

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import ResponseReceiver
    from ingresskit.proxy.ports.tunnels import ByteEnd, ByteReceiver
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.upstreams.pool import Pool

__all__ = ["H1Upstream"]

_MOST_INTERIM: Final = 256  # in a second: more is no sign of life


class H1Upstream(asyncio.Protocol):
    """A connection to an endpoint: an `UpstreamConnection`, its only `Upstream`, and a `ByteEnd`.

    Attributes:
        server_name: The TLS server name it was made with; empty for plain HTTP.
        reused: It has carried an exchange before the present one.
        received_any: Something was received in the present exchange.
        has_room: It carries none.
        may_be_unprocessed: As `Upstream.may_be_unprocessed`: never, in HTTP/1.1.
        unprocessed: As `Upstream.unprocessed`.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_chunked",
        "_deadlines",
        "_idle_timeout",
        "_interim",
        "_interim_since",
        "_pool",
        "_reader",
        "_reading",
        "_receiver",
        "_reusable",
        "_settings",
        "_tunnel",
        "bucket",
        "deadline",
        "endpoint",
        "has_room",
        "idle_since",
        "received_any",
        "reused",
        "server_name",
        "transport",
    )

    may_be_unprocessed: bool = False
    unprocessed: bool = False
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
        self._pool = pool
        self.endpoint: EndpointState = endpoint
        self.server_name: str = server_name
        self._receiver: ResponseReceiver | None = None
        self._tunnel: ByteReceiver | None = None
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self.idle_since: float = 0.0
        self.has_room: bool = True
        self.reused: bool = False
        self.received_any: bool = False
        self._reusable = True
        self._reader = ResponseReader(settings)
        self._buffer = b""
        self._body: Body | None = None
        self._chunked = False
        self._interim = 0
        self._interim_since = 0.0
        self._reading = True

    # For the pool.

    def lend(self) -> H1Upstream | None:
        """As `UpstreamConnection.lend`: this connection, unless its endpoint closed it while it was idle."""
        if self.reused and self.transport.is_closing():
            return None
        self.has_room = False
        return self

    def retire(self) -> None:
        """As `UpstreamConnection.retire`."""
        if self._receiver is None and self._tunnel is None:
            self.reset()
        else:
            self._reusable = False

    def abort(self) -> None:
        """Cut the connection, and report that to the exchange."""
        self.transport.abort()

    # For the exchange.

    @property
    def unsent_bytes(self) -> int:
        """As `Upstream.unsent_bytes`."""
        return self.transport.get_write_buffer_size()

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
        self.received_any = False
        self._reusable = False
        self._body = None
        self._buffer = b""
        self._interim = 0
        self._chunked = request.head.length is None
        deadlines = self._deadlines
        deadlines.set(self, deadlines.recent + timeout)
        self.transport.write(request_octets(request, body, last=last))

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """As `Upstream.send_data`."""
        if self._chunked:
            data = body_octets(data, last=last)
        if data:
            self.transport.write(data)

    def expect_response(self, timeout: float) -> None:
        """As `Upstream.expect_response`."""
        deadlines = self._deadlines
        deadlines.set(self, deadlines.recent + timeout)

    def pause_reading(self) -> None:
        """As `Upstream.pause_reading`."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()
            self._deadlines.set(self, NEVER)

    def resume_reading(self) -> None:
        """As `Upstream.resume_reading`; the exchange sets the deadline."""
        if not self._reading:
            self._reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def release(self, *, reusable: bool) -> None:
        """As `Upstream.release`: back to the pool when the response ended where it should."""
        if not reusable or not self._reusable or self.transport.is_closing():
            self.reset()
            return
        self._receiver = None
        self.reused = True
        self.has_room = True
        if not self._reading:
            self.resume_reading()
        deadlines = self._deadlines
        self.idle_since = now = deadlines.recent
        deadlines.set(self, now + self._idle_timeout)
        self._pool.returned(self)

    def reset(self) -> None:
        """As `Upstream.reset`: ends the connection, since nothing says where the next message begins."""
        self._receiver = None
        self._deadlines.forget(self)
        self.transport.abort()

    # For the tunnel.

    def upgrade(self) -> ByteEnd:
        """As `Upstream.upgrade`."""
        self._receiver = None
        self._deadlines.forget(self)
        return self

    def start(self, receiver: ByteReceiver) -> None:
        """As `ByteEnd`."""
        self._tunnel = receiver

    def write(self, data: bytes) -> None:
        """As `ByteEnd.write`."""
        self.transport.write(data)

    def pause(self) -> None:
        """As `ByteEnd.pause`."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """As `ByteEnd.resume`."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def end(self) -> bool:
        """As `ByteEnd.end`."""
        return half_close(self.transport)

    def close(self) -> None:
        """As `ByteEnd.close`."""
        self.transport.close()

    # For the event loop.

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self._receiver is not None:
            self._receiver.endpoint_timed_out()
        else:
            self.transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._settings.buffer_bytes)
        self._pool.opened(self)

    @override
    def data_received(self, data: bytes) -> None:
        self._deadlines.now()
        receiver = self._receiver
        if receiver is None:
            if self._tunnel is not None:
                self._tunnel.received(data)
            else:
                # Unasked-for bytes on an idle connection would become the response to the next request.
                self.transport.abort()
            return
        self.received_any = True
        body = self._body
        if body is None:
            self._read_head(receiver, data)
            return
        try:
            payload, rest = body.take(data)
        except BodyError as exc:
            receiver.response_broken(f"the body {exc}")
            return
        if body.complete:
            self._reusable = self._reusable and not rest
            receiver.response_data(payload, complete=True, trailers=body.trailers)
        elif payload:
            receiver.response_data(payload, complete=False)

    @override
    def eof_received(self) -> bool:
        if self._tunnel is not None:
            return self._tunnel.ended()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._deadlines.now()
        if exc is not None and self._receiver is not None:
            self._read_what_is_left()
        self._deadlines.forget(self)
        self._pool.lost(self)
        receiver, tunnel = self._receiver, self._tunnel
        if tunnel is not None:
            tunnel.lost()
            self._tunnel = None  # which refers to this connection
        elif receiver is not None:
            self._receiver = None
            self._reusable = False
            if exc is None and isinstance(self._body, UntilClose):
                receiver.response_data(b"", complete=True)
            else:
                receiver.endpoint_lost(self)

    @override
    def pause_writing(self) -> None:
        self._deadlines.now()
        if self._tunnel is not None:
            self._tunnel.write_paused()
        elif self._receiver is not None:
            self._receiver.endpoint_write_paused()

    @override
    def resume_writing(self) -> None:
        self._deadlines.now()
        if self._tunnel is not None:
            self._tunnel.write_resumed()
        elif self._receiver is not None:
            self._receiver.endpoint_write_resumed()

    def _read_what_is_left(self) -> None:
        """Read a response that the kernel still has, from an endpoint that responded early and left.

        That it left is noticed by writing to it. asyncio then gives the connection up unread, and closes
        the socket after this; uvloop reads before it writes, and has closed it already. Inside TLS there
        is nothing to be had without its transport.
        """
        connection = self.transport.get_extra_info("socket")
        if self.endpoint.protocol is Protocol.HTTPS or not isinstance(connection, TransportSocket):
            return
        with contextlib.suppress(OSError), connection.dup() as left:
            while self._receiver is not None and (data := left.recv(65536, socket.MSG_DONTWAIT)):
                self.data_received(data)

    def _read_head(self, receiver: ResponseReceiver, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        try:
            while True:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._keep_beginning(data)
                    return
                if end + 4 > self._settings.max_response_header_bytes:
                    raise BadResponse("header too large")
                head = self._reader.read(data[: end + 4])
                data = data[end + 4 :]
                if head.status >= 200 or head.status == 101:
                    break
                self._count_interim()
                receiver.interim_response(head)
                if self._receiver is not receiver:
                    return
                if not data:
                    self._buffer = b""
                    return
            self._buffer = b""
            if head.status == 101:
                receiver.switch_protocols(head, data)
                return
            payload, complete = self._begin_body(head, data, head_only=receiver.head_only)
        except BadResponse as exc:
            receiver.response_broken(str(exc))
            return
        except BodyError as exc:
            receiver.response_broken(f"the body {exc}")
            return
        if complete and self._body is not None and self._body.trailers:
            # A head has no place for them, also when all of it came at once.
            trailers = self._body.trailers
            receiver.response(head, payload, complete=False)
            if self._receiver is receiver:
                receiver.response_data(b"", complete=True, trailers=trailers)
            return
        receiver.response(head, payload, complete=complete)

    def _count_interim(self) -> None:
        # Long work may send any number of them. A flood of them serves nobody.
        now = self._deadlines.recent
        if now >= self._interim_since + 1:
            self._interim_since, self._interim = now, 0
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise BadResponse("flood of interim responses")

    def _begin_body(self, head: ResponseHead, data: bytes, *, head_only: bool) -> tuple[bytes, bool]:
        """Read the present part of the body; work out how it ends, and whether another response may follow."""
        self._reusable = head.keep_alive and not head.connection_auth
        if data and len(data) == head.length and not head_only and head.status not in (204, 304):
            return data, True  # small responses are here with their head
        body = self._body = response_body(head, head_only=head_only)
        if isinstance(body, UntilClose):
            self._reusable = False
        elif body.complete and (head.length or head.chunked):
            # It announced a body that must not come. Should it come all the same, and late, it
            # would be read as the response to somebody else's request.
            self._reusable = False
        if not data:
            return b"", body.complete
        payload, rest = body.take(data)
        if rest:
            self._reusable = False
        return payload, body.complete

    def _keep_beginning(self, data: bytes) -> None:
        if len(data) > self._settings.max_response_header_bytes:
            raise BadResponse("header too large")
        if data.count(b"\n") - data.endswith(b"\n") > data.count(b"\r"):
            raise BadResponse("bare LF")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise BadResponse("not HTTP/1")
        self._buffer = data
