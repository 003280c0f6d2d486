"""The responses of a client's HTTP/1.1 connection: frames what an exchange sends, one exchange at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.h1.connection import H1Connection, State
from ingresskit.proxy.h1.local_replies import build_local_reply
from ingresskit.proxy.h1.octets import body_octets
from ingresskit.proxy.message.head import RequestHead, ResponseHead
from ingresskit.proxy.ports.streams import UPSTREAM_WRITE_PAUSED
from ingresskit.proxy.sockets import half_close

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.message.forwarded import Address
    from ingresskit.proxy.message.front import Front
    from ingresskit.proxy.ports.streams import RequestReceiver
    from ingresskit.proxy.ports.tunnels import ByteEnd, ByteReceiver

__all__ = ["H1Responses"]

_HEAD: Final = State.HEAD
_BODY: Final = State.BODY
_TUNNEL: Final = State.TUNNEL
_CLOSED: Final = State.CLOSED
_NO_REQUEST: Final = RequestHead(b"GET", b"/", False, b"")


class H1Responses(H1Connection):
    """A connection from a client: the `Downstream` of its exchanges, and a `ByteEnd`."""

    __slots__ = ("_chunked", "_closing", "_ends_body", "_request")

    def __init__(
        self,
        admission: Admission,
        clients: Clients,
        *,
        tls: bool,
        proxied: tuple[Address, int] | None = None,
        front: Front | None = None,
    ) -> None:
        super().__init__(admission, clients, tls=tls, proxied=proxied, front=front)
        # Of the present exchange.
        self._request: RequestHead = _NO_REQUEST
        self._chunked = False  # the response is sent in chunks
        self._closing = False  # it is the last one
        self._ends_body = False  # the end of the connection is the end of its body

    @abstractmethod
    def _parse(self) -> None:
        """Begin the next requests out of the buffer."""

    # For the exchange: see `Downstream`.

    def send_interim(self, head: ResponseHead, fields: bytes) -> None:
        """As `Downstream.send_interim`; HTTP/1.0 has none."""
        if not self._request.is_http_1_0:
            self.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, fields))

    def send_head(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes, *, last: bool) -> None:
        """As `Downstream.send_head`."""
        request, exchange, runtime = self._request, self._exchange, self._runtime
        status = head.status
        chunked = False
        closing = (
            not request.keep_alive or runtime.draining or exchange is None or not exchange.request_complete
        )
        if status == 204:
            pass
        elif head.length is not None:
            extra += b"Content-Length: %d\r\n" % head.length
        elif status == 304 or request.method == b"HEAD":
            if head.chunked and not request.is_http_1_0:
                extra += b"Transfer-Encoding: chunked\r\n"
        elif request.is_http_1_0:
            # To HTTP/1.0, the end of the connection is the end of the body.
            closing = self._ends_body = True
        else:
            chunked = True
            extra += b"Transfer-Encoding: chunked\r\n"
        if closing:
            extra += b"Connection: close\r\n"
        elif request.is_http_1_0:
            extra += b"Connection: keep-alive\r\n"
        if status == 426 and head.upgrade:
            extra += b"Upgrade: %b\r\nConnection: Upgrade\r\n" % head.upgrade
        self._closing = closing
        self._chunked = chunked
        octets = b"".join(
            (
                b"HTTP/1.1 %d " % status,
                head.reason,
                b"\r\n",
                fields,
                extra,
                b"\r\n",
                body_octets(data, last=last) if chunked else data,
            )
        )
        runtime.counters.sent_bytes += len(octets)
        self.transport.write(octets)

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        """As `Downstream.send_data`."""
        if self._chunked:
            data = body_octets(data, last=last, trailers=trailers if self._request.takes_trailers else b"")
        if data:
            self._runtime.counters.sent_bytes += len(data)
            self.transport.write(data)

    def send_local_reply(
        self,
        status: int,
        *,
        sentence: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> int:
        """As `Downstream.send_local_reply`."""
        request, exchange, runtime = self._request, self._exchange, self._runtime
        self._closing = (
            not request.keep_alive or runtime.draining or exchange is None or not exchange.request_complete
        )
        return self._send_reply(status, sentence, location, fields, head_only=request.method == b"HEAD")

    def hand_over(self, receiver: RequestReceiver) -> None:
        """As `Downstream.hand_over`."""
        self._exchange = receiver

    def finish(self) -> None:
        """As `Downstream.finish`: go on with the next request, or end the connection."""
        exchange, self._exchange = self._exchange, None
        if self._state is _CLOSED:
            return
        if self._charged:
            self.recharge()
        runtime = self._runtime
        self._request = _NO_REQUEST
        # Not `draining`: a client whose response began before that was promised the connection, and may have
        # sent its next request by now.
        if self._closing or runtime.refusing or (exchange is not None and not exchange.request_complete):
            if (self._state is _BODY or self._buffer) and not (self._tls and self._ends_body):
                self._linger()
            else:
                self.close()
            return
        self._state = _HEAD
        self._body = None
        if self.read_pauses:
            self.resume_reading(self.read_pauses)
        if self._buffer or self.write_paused:
            self._restart_deadline()
            self._parse()
        else:
            deadlines = runtime.deadlines
            deadlines.set(self, deadlines.recent + runtime.timeouts.idle)

    def reset(self) -> None:
        """As `Downstream.reset`: the connection goes with its only stream."""
        self.transport.abort()

    # For the tunnel: see `ByteEnd`.

    def upgrade(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes) -> ByteEnd:
        """As `Downstream.upgrade`."""
        self._exchange = None
        self._request = _NO_REQUEST
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\n%b%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n%b"
            % (fields, extra, head.upgrade, data)
        )
        return self

    def start(self, receiver: ByteReceiver) -> None:
        """As `ByteEnd`."""
        if self._state is _CLOSED or self.transport.is_closing():
            receiver.lost()
            return
        self._tunnel = receiver
        self._state = _TUNNEL
        self._runtime.deadlines.set(self, NEVER)
        early, self._buffer = self._buffer, b""
        if early:
            receiver.received(early)
        if self.write_paused:
            receiver.write_paused()
        self.resume_reading(self.read_pauses)

    def write(self, data: bytes) -> None:
        """As `ByteEnd.write`."""
        self._runtime.counters.sent_bytes += len(data)
        self.transport.write(data)

    def pause(self) -> None:
        """As `ByteEnd.pause`."""
        self.pause_reading(UPSTREAM_WRITE_PAUSED)

    def resume(self) -> None:
        """As `ByteEnd.resume`."""
        self.resume_reading(UPSTREAM_WRITE_PAUSED)

    def end(self) -> bool:
        """As `ByteEnd.end`."""
        return half_close(self.transport)

    def _send_reply(
        self,
        status: int,
        sentence: str,
        location: str,
        fields: tuple[tuple[bytes, bytes], ...],
        *,
        head_only: bool,
    ) -> int:
        data, size = build_local_reply(
            status,
            sentence=sentence,
            location=location,
            extra=fields,
            head_only=head_only,
            connection=b"close" if self._closing else b"",
        )
        self.write(data)
        return size
