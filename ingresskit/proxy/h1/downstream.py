"""A client's HTTP/1.1 connection: reads requests, and begins an exchange for each, one after the other.

Its states are in `ingresskit.proxy.h1.connection`, what it sends in `ingresskit.proxy.h1.responses`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.replies import LocalReply, count_reply
from ingresskit.proxy.h1.beginnings import check_sizes, judge_beginning
from ingresskit.proxy.h1.bodies import Body, BodyError, request_body
from ingresskit.proxy.h1.connection import LINGER_SILENCE, State
from ingresskit.proxy.h1.heads import RequestReader
from ingresskit.proxy.h1.responses import H1Responses
from ingresskit.proxy.message.head import BadRequest, RequestHead
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.ports.streams import AHEAD

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.message.forwarded import Address, Peer
    from ingresskit.proxy.message.front import Front

__all__ = ["H1Downstream"]

_HEAD, _BODY, _WAIT, _TUNNEL, _LINGER, _CLOSED = State
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"  # RFC 9113, 3.4: made so that HTTP/1.1 refuses it
_SMALL_HEAD: Final = 1024  # held until it is whole without being accounted for


class H1Downstream(H1Responses):
    """A connection from a client: a `ClientConnection`, its only `Downstream`, and a `ByteEnd`."""

    __slots__ = (
        "_forgiven",
        "_host",
        "_http2",
        "_parsing",
        "_reader",
        "_scanned",
    )

    def __init__(
        self,
        admission: Admission,
        clients: Clients,
        *,
        tls: bool,
        proxied: tuple[Address, int] | None = None,
        front: Front | None = None,
        http2: Callable[[tuple[Address, int] | None], asyncio.Protocol] | None = None,
    ) -> None:
        """Begin with no request.

        Args:
            admission: Of requests.
            clients: The connections of clients.
            tls: Whether it speaks TLS.
            proxied: What a PROXY header says of it.
            front: Reads what a proxy program in front says; ``None``: it is a client.
            http2: Makes the codec for a client that begins with the preface of HTTP/2; ``None``: it is refused.
        """
        super().__init__(admission, clients, tls=tls, proxied=proxied, front=front)
        self._http2 = http2
        self._reader = RequestReader(self._runtime.settings)
        self._scanned = 0
        self._forgiven = False
        self._parsing = False
        self._host: RequestedHost | None = None

    # For the event loop.

    @override
    def data_received(self, data: bytes) -> None:
        runtime = self._runtime
        runtime.counters.received_bytes += len(data)
        now = runtime.deadlines.now()
        state = self._state
        if state is _HEAD:
            begins = not self._buffer
            self._buffer = data if begins else self._buffer + data
            self._parse()
            if begins and self._buffer and self._state is _HEAD and not self.write_paused:
                runtime.deadlines.set(self, now + runtime.timeouts.header)
        elif state is _BODY:
            self._take_body(data)
        elif state is _WAIT:
            self._buffer += data
            self.pause_reading(AHEAD)
        elif state is _TUNNEL and self._tunnel is not None:
            self._tunnel.received(data)
        elif state is _LINGER:
            runtime.deadlines.set(self, min(self._linger_until, now + LINGER_SILENCE))

    @override
    def eof_received(self) -> bool:
        if self._state is _TUNNEL and self._tunnel is not None:
            return self._tunnel.ended()
        # As nginx and Envoy take it: a client that ends its side while a response is under way left.
        # The few that only shut their side down and still read cannot be told from those, and each one
        # that left would keep an endpoint at work for nothing.
        if self._exchange is not None:
            self.transport.abort()
        else:
            self.close()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.forget()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        self.write_paused = True
        self.recharge()
        if self._tunnel is not None:
            self._tunnel.write_paused()
            return
        deadlines = self._runtime.deadlines
        deadlines.set(self, deadlines.now() + self._runtime.timeouts.client_write)
        if self._exchange is not None:
            self._exchange.client_write_paused()

    @override
    def resume_writing(self) -> None:
        self.write_paused: bool = False
        if self._charged:
            self.recharge()
        self._runtime.deadlines.now()
        if self._tunnel is not None:
            self._tunnel.write_resumed()
            return
        self._restart_deadline()
        if self._exchange is not None:
            self._exchange.client_write_resumed()
        elif self._state is _HEAD and self._buffer:
            self._parse()

    # Requests.

    @override
    def _parse(self) -> None:
        """Begin requests out of the buffer, until one has to wait. Never nested: pipelines are long."""
        if self._parsing:
            return
        self._parsing = True
        data = b""
        try:
            while self._state is _HEAD and self._buffer and not self.write_paused:
                data = self._buffer
                if data[0] == 0x0D and not self._forgiven:
                    # RFC 9112, 2.2: one empty line before a request is to be forgiven; not two.
                    if data == b"\r":
                        break
                    if data.startswith(b"\r\n"):
                        self._forgiven = True
                        self._buffer = data[2:]
                        continue
                end = data.find(b"\r\n\r\n", self._scanned)
                if end < 0:
                    self._scanned = max(0, len(data) - 3)
                    judge_beginning(data, self._runtime.settings)
                    if len(data) > _SMALL_HEAD:
                        self.recharge()
                    break
                self._scanned = 0
                self._forgiven = False
                end += 4
                if end == len(data):
                    self._buffer = b""
                    self._begin(data)
                else:
                    self._buffer = data[end:]
                    self._begin(data[:end])
        except BadRequest as exc:
            if self._http2 is None or self._host is not None or not data.startswith(_PREFACE):
                self._refuse(exc)
            else:
                self._hand_connection_over(self._http2(self._proxied), data)
        finally:
            self._parsing = False

    def _begin(self, raw: bytes) -> None:
        peer = self._peer
        assert peer is not None  # noqa: S101 - set before anything is read
        if len(raw) > self._reader.small_bytes:
            check_sizes(raw, len(raw), self._runtime.settings)
        head = self._reader.read(raw)
        if self._front is not None:
            peer = self._front.peer(head.client_fields)
        host = self._host
        if host is None or host.raw != head.host:
            host = self._host = RequestedHost(head.host)
        result = self._admission.admit(self, peer, head, host)
        if isinstance(result, LocalReply):
            self._answer(result, head, peer)
            return
        self._exchange = result
        self._request = head
        self._ends_body = False
        if head.length == 0:
            # The deadline for the head stays set; in this state it means nothing when it passes.
            self._state = _WAIT
            if self._buffer:
                self.pause_reading(AHEAD)
            result.start(b"", complete=True)
            return
        body = self._body = request_body(head.length)
        data, self._buffer = self._buffer, b""
        try:
            payload, rest = body.take(data)
        except BodyError as exc:
            result.refuse(f"The body {exc}.")
            return
        self.deadline = NEVER  # the time for the head is over
        self._after_body(body, rest, 0)
        if body.trailers:
            result.start(payload, complete=False)
            result.request_data(b"", complete=True, trailers=body.trailers)
        else:
            result.start(payload, complete=body.complete)

    def _take_body(self, data: bytes) -> None:
        body, exchange = self._body, self._exchange
        if body is None or exchange is None:
            return
        try:
            payload, rest = body.take(data)
        except BodyError as exc:
            exchange.refuse(f"The body {exc}.")
            return
        self._after_body(body, rest, len(data))
        exchange.request_data(payload, complete=body.complete, trailers=body.trailers)

    def _after_body(self, body: Body, rest: bytes, size: int) -> None:
        runtime = self._runtime
        deadlines = runtime.deadlines
        if body.complete:
            self._state = _WAIT
            self._buffer = rest
            deadlines.set(self, NEVER)
            if rest:
                self.pause_reading(AHEAD)
        else:
            self._state = _BODY
            if not self.read_pauses and not self.write_paused:
                # Each octet buys time, at the least rate, up to the whole of it: one now and then would
                # else hold a connection to an endpoint for ever.
                earned = self.deadline + size / runtime.settings.min_body_rate
                deadlines.set(self, min(earned, deadlines.recent + runtime.timeouts.body))

    # Local replies without an exchange.

    def _answer(self, reply: LocalReply, head: RequestHead, peer: Peer) -> None:
        complete = head.length == 0
        if not complete:
            # A body that is here already is passed over; one that is not would have to be waited for.
            body = request_body(head.length)
            try:
                _, rest = body.take(self._buffer)
            except BodyError:
                rest = b""
            complete = body.complete
            self._buffer = rest if complete else b""
        self._closing = not complete or not head.keep_alive or self._runtime.draining
        size = self._send_reply(
            reply.status, "", reply.location, reply.fields, head_only=head.method == b"HEAD"
        )
        count_reply(self._runtime, peer, head.method, reply, size)
        if not complete:
            self._state = _BODY
        self._ends_body = False
        self.finish()

    @override
    def _refuse(self, refusal: BadRequest) -> None:
        sentence = str(refusal)
        self._closing = True
        size = self._send_reply(refusal.status, sentence, "", (), head_only=False)
        termination = Termination.CLIENT_TIMEOUT if refusal.status == 408 else Termination.BAD_REQUEST
        if self._peer is not None:
            reply = LocalReply(refusal.status, termination, detail=sentence)
            count_reply(self._runtime, self._peer, b"", reply, size)
        self._buffer = b""
        self._linger()
