"""One client connection: a machine that is always in one of six states.

    HEAD ──head complete──► BODY ──last byte──► WAIT ──answer complete──► HEAD
      │  └──no body────────────────────────────► │
      │                                          └──101──► TUNNEL
      └──any doubt, or an end after this request──► LINGER ──► CLOSED

While a request is under way nothing more than one read of the next one is taken: pipelined requests
wait in the kernel. LINGER is for clients that are still sending: closing with unread bytes would
reset the connection and could take the answer away with it (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.exchange import Exchange
from ingresskit.proxy.exchange.inquiry import Inquiry
from ingresskit.proxy.exchange.records import local_record
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.front import Front
from ingresskit.proxy.h1.beginnings import check_sizes, judge_beginning
from ingresskit.proxy.h1.bodies import Body, BodyError
from ingresskit.proxy.h1.heads import BadRequest, RequestHead, RequestReader
from ingresskit.proxy.h1.local_replies import build_answer
from ingresskit.proxy.hosts import RequestedHost
from ingresskit.proxy.limits.crowd import Owner, owner_of
from ingresskit.proxy.message.forwarded import Address, Peer, parse_address
from ingresskit.proxy.requests import admit
from ingresskit.proxy.sockets import half_close, has_left

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.tunnel import Tunnel
    from ingresskit.proxy.plane import Plane

__all__ = ["ClientConnection"]

# How often to look whether a client that is not read is still there.
_LOOK_SECONDS: Final = 2.0
# As long as nginx lingers: for a client that writes all of an upload before it reads.
_LINGER_SECONDS: Final = 30.0
_SMALL_HEAD: Final = 1024  # held until it is whole without being accounted for
_LINGER_SILENCE: Final = 5.0
_LINGER_DRAINING: Final = 2.0


class State(IntEnum):
    """Where a connection stands; see the module."""

    HEAD = 0
    BODY = 1
    WAIT = 2
    TUNNEL = 3
    LINGER = 4
    CLOSED = 5


_HEAD, _BODY, _WAIT, _TUNNEL, _LINGER, _CLOSED = State

# Why a connection is not read at the moment.
_NO_CONNECTION: Final = 1
_ENDPOINT_FULL: Final = 2
_AHEAD: Final = 4


class ClientConnection(asyncio.Protocol):
    """A connection from a client.

    Attributes:
        full: The client takes nothing at the moment.
        given_up: It is closed to make room for others.
        timed_out: It took nothing for too long, and is cut.
        held: Why it is not read at the moment; 0 when it is.
    """

    __slots__ = (
        "_body",
        "_bounded",
        "_buffer",
        "_charged",
        "_exchange",
        "_forgiven",
        "_front",
        "_host",
        "_linger_until",
        "_owner",
        "_parsing",
        "_peer",
        "_plane",
        "_proxied",
        "_reader",
        "_scanned",
        "_state",
        "_tls",
        "_tunnel",
        "bucket",
        "deadline",
        "full",
        "given_up",
        "held",
        "timed_out",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        plane: Plane,
        *,
        tls: bool,
        proxied: tuple[Address, int] | None = None,
        front: Front | None = None,
    ) -> None:
        self._plane = plane
        self._tls = tls
        self._proxied = proxied
        self._front = front
        self._peer: Peer | None = None
        self._owner: Owner | None = None
        self._bounded = True
        self._charged = False
        self._reader = RequestReader(plane.settings)
        self._state = _HEAD
        self._buffer = b""
        self._scanned = 0
        self._forgiven = False
        self._parsing = False
        self._body: Body | None = None
        self._exchange: Exchange | Inquiry | None = None
        self._tunnel: Tunnel | None = None
        self._host: RequestedHost | None = None
        self.held: int = 0
        self._linger_until = 0.0
        self.full: bool = False
        self.given_up: bool = False
        self.timed_out: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None

    # For the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plane = self._plane
        self.transport = cast(asyncio.Transport, transport)
        plane.counters.connections_open += 1
        plane.clients.add(self)
        plane.emptied.clear()
        self._peer = self._find_peer()
        if self._peer is None or plane.draining:
            plane.counters.connections_total += 1
            plane.counters.connections_refused += plane.draining
            self._state = _CLOSED
            self.transport.abort()
            return
        owner = owner_of(self._peer.address)
        if not plane.crowd.has_room(owner, tls=self._tls):
            plane.connection_refused()
            self._state = _CLOSED
            self.transport.abort()
            return
        plane.counters.connections_total += 1
        plane.crowd.add(self, owner, tls=self._tls)
        self._owner = owner
        self._bounded = not self._peer.trusted
        self.transport.set_write_buffer_limits(high=plane.settings.buffer_bytes)
        plane.deadlines.set(self, plane.deadlines.now() + plane.header_timeout)

    @override
    def data_received(self, data: bytes) -> None:
        plane = self._plane
        plane.counters.received_bytes += len(data)
        now = plane.deadlines.now()
        state = self._state
        if state is _HEAD:
            begins = not self._buffer
            self._buffer = data if begins else self._buffer + data
            self._parse()
            if begins and self._buffer and self._state is _HEAD and not self.full:
                plane.deadlines.set(self, now + plane.header_timeout)
        elif state is _BODY:
            self._take_body(data)
        elif state is _WAIT:
            self._buffer += data
            self._hold(_AHEAD)
        elif state is _TUNNEL and self._tunnel is not None:
            self._tunnel.from_client(data)
        elif state is _LINGER:
            plane.deadlines.set(self, min(self._linger_until, now + _LINGER_SILENCE))

    @override
    def eof_received(self) -> bool:
        if self._state is _TUNNEL and self._tunnel is not None:
            return self._tunnel.client_ended()
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
        self._state = _CLOSED
        self._buffer = b""
        plane = self._plane
        plane.deadlines.now()
        plane.deadlines.forget(self)
        plane.counters.connections_open -= 1
        plane.clients.discard(self)
        if not plane.clients:
            plane.emptied.set()
        if self._owner is not None:
            plane.crowd.discard(self, self._owner, tls=self._tls)
            if self._charged:
                plane.memory.charge(self, self._owner, 0, bounded=False)
        exchange, self._exchange = self._exchange, None
        tunnel, self._tunnel = self._tunnel, None
        self._reader.forget()
        if exchange is not None:
            exchange.client_lost()
        if tunnel is not None:
            tunnel.client_lost()

    @override
    def pause_writing(self) -> None:
        self.full = True
        self.recharge()
        if self._tunnel is not None:
            self._tunnel.pause_endpoint()
            return
        plane = self._plane
        plane.deadlines.set(self, plane.deadlines.now() + plane.client_write_timeout)
        if self._exchange is not None:
            self._exchange.client_is_full()

    @override
    def resume_writing(self) -> None:
        self.full = False
        if self._charged:
            self.recharge()
        self._plane.deadlines.now()
        if self._tunnel is not None:
            self._tunnel.resume_endpoint()
            return
        self._restart_deadline()
        if self._exchange is not None:
            self._exchange.client_has_room()
        elif self._state is _HEAD and self._buffer:
            self._parse()

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.full or self._state in (_LINGER, _CLOSED):
            self.timed_out = self.full
            self.transport.abort()
        elif self._state is _HEAD:
            if self._buffer:
                self._refuse(BadRequest(408, ""))
            else:
                self.close()
        elif self.held:
            # It is not read, so its end would not be seen.
            if has_left(self.transport):
                self.transport.abort()
            else:
                plane = self._plane
                plane.deadlines.set(self, plane.deadlines.now() + _LOOK_SECONDS)
        elif self._state is _BODY and self._exchange is not None:
            self._exchange.client_timed_out()

    # For the proxy.

    def drain(self) -> None:
        """Close now when idle; else the end of the present request is the end."""
        if self._state is _HEAD and not self._buffer and self._exchange is None:
            self.close()
        elif self._state is _LINGER:
            deadlines = self._plane.deadlines
            self._linger_until = deadlines.now() + _LINGER_DRAINING
            deadlines.set(self, min(self.deadline, self._linger_until))

    def close(self) -> None:
        """Close when what is written has been sent."""
        if self._state is not _CLOSED:
            self._state = _CLOSED
            self.transport.close()
            plane = self._plane
            plane.deadlines.set(self, plane.deadlines.now() + plane.client_write_timeout)

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost to its client when it ends: no request has begun, or all is over."""
        return self._state is _LINGER or (self._state is _HEAD and not self._buffer and not self.full)

    def give_up(self, reason: str) -> None:
        """End it to make room for others; *reason* is the limit that was reached."""
        if self._state is _CLOSED:
            return
        self.given_up = True
        self._plane.connection_given_up(reason)
        if self.is_idle:
            self.close()
        else:
            self._state = _CLOSED
            self.transport.abort()

    def recharge(self) -> None:
        """Account for what the proxy holds for this client now; may give this connection up, or others."""
        if self._owner is None or self._state is _CLOSED:
            return
        size = len(self._buffer)
        if self.full:
            size += self.transport.get_write_buffer_size()
        if self._exchange is not None:
            size += self._exchange.waiting_bytes
        self._charged = size > 0
        self._plane.memory.charge(self, self._owner, size, bounded=self._bounded)

    # For the exchange and the tunnel.

    def has_left(self) -> bool:
        """Whether the client closed the connection, also while nothing is read of it."""
        return self._state is _CLOSED or has_left(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._plane.counters.sent_bytes += len(data)
        self.transport.write(data)

    def send_local_reply(
        self,
        status: int,
        *,
        sentence: str = "",
        head_only: bool,
        closing: bool,
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> int:
        """Send an answer of the proxy's own; returns how many bytes its body has."""
        connection = b"close" if closing or self._plane.draining else b""
        data, size = build_answer(
            status,
            sentence=sentence,
            head_only=head_only,
            connection=connection,
            location=location,
            extra=fields,
        )
        self.send(data)
        return size

    def exchange_over(self, *, closing: bool, ends_body: bool = False) -> None:
        """The response is written.

        Args:
            closing: It was the last one.
            ends_body: The end of the connection is the end of its body.
        """
        self._exchange = None
        if self._state is _CLOSED:
            return
        if self._charged:
            self.recharge()
        plane = self._plane
        if closing or plane.draining:
            self._finish(ends_body=ends_body)
            return
        self._state = _HEAD
        self._body = None
        if self.held:
            self._release(self.held)
        if self._buffer or self.full:
            self._restart_deadline()
            self._parse()
        else:
            deadlines = plane.deadlines
            deadlines.set(self, deadlines.recent + plane.idle_timeout)

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """From now on bytes belong to *tunnel*; those that came early are its first."""
        self._exchange = None
        if self._state is _CLOSED or self.transport.is_closing():
            tunnel.client_lost()
            return
        self._tunnel = tunnel
        self._state = _TUNNEL
        self._plane.deadlines.set(self, NEVER)
        early, self._buffer = self._buffer, b""
        if early:
            tunnel.from_client(early)
        self._release(self.held)

    def forward(self, exchange: Exchange) -> None:
        """The filters of the request let it go on: *exchange* takes it over."""
        self._exchange = exchange

    def hold_for_connection(self) -> None:
        """Read no more until the request has a connection."""
        self._hold(_NO_CONNECTION)

    def release_for_connection(self) -> None:
        """Undo `hold_for_connection`."""
        self._release(_NO_CONNECTION)

    @property
    def is_held_for_endpoint(self) -> bool:
        """Whether it is not read because the endpoint takes nothing."""
        return bool(self.held & _ENDPOINT_FULL)

    def hold_for_endpoint(self) -> None:
        """Read no more while the endpoint cannot take it."""
        self._hold(_ENDPOINT_FULL)

    def release_for_endpoint(self) -> None:
        """Undo `hold_for_endpoint`."""
        self._release(_ENDPOINT_FULL)

    def requested_host(self, raw: bytes) -> RequestedHost:
        """The ``Host`` field, read.

        Raises:
            BadRequest: It cannot be a host.
        """
        host = self._host
        if host is None or host.raw != raw:
            host = self._host = RequestedHost(raw)
        return host

    # Requests.

    def _parse(self) -> None:
        """Begin requests out of the buffer, until one has to wait. Never nested: pipelines are long."""
        if self._parsing:
            return
        self._parsing = True
        try:
            while self._state is _HEAD and self._buffer and not self.full:
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
                    judge_beginning(data, self._plane.settings)
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
            self._refuse(exc)
        finally:
            self._parsing = False

    def _begin(self, raw: bytes) -> None:
        peer, plane = self._peer, self._plane
        assert peer is not None  # noqa: S101 - set before anything is read
        if len(raw) > plane.small_head_bytes:
            check_sizes(raw, len(raw), plane.settings)
        head = self._reader.read(raw)
        if self._front is not None:
            peer = self._front.peer(head.client_fields)
        result = admit(plane, self, peer, head)
        if isinstance(result, LocalReply):
            self._answer(result, head, peer)
            return
        self._exchange = result
        if head.length == 0:
            # The deadline for the head stays set; in this state it means nothing when it passes.
            self._state = _WAIT
            if self._buffer:
                self._hold(_AHEAD)
            result.start(b"", complete=True)
            return
        body = self._body = head.body()
        data, self._buffer = self._buffer, b""
        try:
            payload, rest = body.take(data)
        except BodyError as exc:
            result.refuse(f"The body {exc}.")
            return
        self.deadline = NEVER  # the time for the head is over
        self._after_body(body, rest, 0)
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
        exchange.request_data(payload, complete=body.complete)

    def _after_body(self, body: Body, rest: bytes, size: int) -> None:
        deadlines = self._plane.deadlines
        if body.complete:
            self._state = _WAIT
            self._buffer = rest
            deadlines.set(self, NEVER)
            if rest:
                self._hold(_AHEAD)
        else:
            self._state = _BODY
            if not self.held and not self.full:
                # Each octet buys time, at the least rate, up to the whole of it: one now and then would
                # else hold a connection to an endpoint for ever.
                earned = self.deadline + size / self._plane.settings.min_body_rate
                deadlines.set(self, min(earned, deadlines.recent + self._plane.body_timeout))

    def _answer(self, answer: LocalReply, head: RequestHead, peer: Peer) -> None:
        complete = head.length == 0
        if not complete:
            # A body that is here already is passed over; one that is not would have to be waited for.
            body = head.body()
            try:
                _, rest = body.take(self._buffer)
            except BodyError:
                rest = b""
            complete = body.complete
            self._buffer = rest if complete else b""
        closing = not complete or not head.keep_alive
        size = self.send_local_reply(
            answer.status,
            head_only=head.method == b"HEAD",
            closing=closing,
            location=answer.location,
            fields=answer.fields,
        )
        self.count_reply(peer, head.method, answer, size)
        if not complete:
            self._state = _BODY
        self.exchange_over(closing=closing)

    def _refuse(self, refusal: BadRequest) -> None:
        """Answer a request that could not be read, and end the connection."""
        sentence = str(refusal)
        size = self.send_local_reply(refusal.status, sentence=sentence, head_only=False, closing=True)
        termination = Termination.CLIENT_TIMEOUT if refusal.status == 408 else Termination.BAD_REQUEST
        if self._peer is not None:
            self.count_reply(self._peer, b"", LocalReply(refusal.status, termination, detail=sentence), size)
        self._buffer = b""
        self._linger()

    def count_reply(
        self, peer: Peer, method: bytes, reply: LocalReply, size: int, duration: float = 0.0
    ) -> None:
        """Count a response of the proxy's own, *size* bytes of body, and let the access log have it."""
        plane = self._plane
        plane.counters.count_request(reply.rule_host, reply.status, duration, reply.termination)
        if (log := plane.settings.access_log) is not None:
            log(local_record(peer, method, reply, size, duration))

    # The end.

    def _finish(self, *, ends_body: bool) -> None:
        if (self._state is _BODY or self._buffer) and not (self._tls and ends_body):
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        # TLS has no half-close here: its client knows the end of the response by the length of the body.
        # One that does not send a body has nothing on its way that a reset could be the answer to.
        uploads = self._state is _BODY
        if self.transport.is_closing() or not (uploads if self._tls else half_close(self.transport)):
            self.close()
            return
        self._state = _LINGER
        self._body = None
        self._buffer = b""
        self._release(self.held)
        plane = self._plane
        now = plane.deadlines.now()
        self._linger_until = now + (_LINGER_DRAINING if plane.draining else _LINGER_SECONDS)
        plane.deadlines.set(self, min(self._linger_until, now + _LINGER_SILENCE))

    def _hold(self, reason: int) -> None:
        if not self.transport.is_closing():
            if not self.held:
                self.transport.pause_reading()
            if self._state in (_BODY, _WAIT) and not self.full:
                deadlines = self._plane.deadlines
                deadlines.set(self, deadlines.recent + _LOOK_SECONDS)
        self.held |= reason
        self.recharge()

    def _release(self, reason: int) -> None:
        if not self.held:
            return
        self.held &= ~reason
        if self._charged:
            self.recharge()
        if not self.held and not self.transport.is_closing():
            self.transport.resume_reading()
            if self._state in (_BODY, _WAIT):
                self._restart_deadline()

    def _restart_deadline(self) -> None:
        plane = self._plane
        now = plane.deadlines.recent
        if self.full:
            plane.deadlines.set(self, now + plane.client_write_timeout)
        elif self._state is _HEAD:
            plane.deadlines.set(self, now + (plane.header_timeout if self._buffer else plane.idle_timeout))
        elif self.held:
            plane.deadlines.set(self, now + _LOOK_SECONDS)
        elif self._state is _BODY:
            plane.deadlines.set(self, now + plane.body_timeout)
        elif self._state is _WAIT:
            plane.deadlines.set(self, NEVER)

    def _find_peer(self) -> Peer | None:
        """Who is there; ``None`` when it is gone already."""
        if self._front is not None:
            return self._front.connection
        local = self.transport.get_extra_info("sockname")
        remote = self.transport.get_extra_info("peername")
        if not local or not remote:
            return None
        address = self._proxied[0] if self._proxied else parse_address(str(remote[0]))
        return Peer(
            address,
            tls=self._tls,
            listener_port=int(local[1]),
            proxied_port=self._proxied[1] if self._proxied else 0,
            trusted=self._plane.settings.trusted_proxies,
            public=self._plane.public_ports,
        )
