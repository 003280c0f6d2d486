"""A client's HTTP/1.1 connection below its messages: who it is, what it holds, when it waits too long.

It is always in one of six states:

    HEAD ──head complete──► BODY ──last byte──► WAIT ──response complete──► HEAD
      │  └──no body────────────────────────────► │
      │                                          └──101──► TUNNEL
      └──any doubt, or an end after this request──► LINGER ──► CLOSED

While a request is under way nothing more than one read of the next one is taken: pipelined requests
wait in the kernel. LINGER is for clients that are still sending: closing with unread bytes would
reset the connection and could take the response away with it (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.peers import find_peer
from ingresskit.proxy.limits.crowd import Owner, owner_of
from ingresskit.proxy.message.head import BadRequest
from ingresskit.proxy.sockets import half_close, has_left

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.h1.bodies import Body
    from ingresskit.proxy.limits.clients import Clients
    from ingresskit.proxy.message.forwarded import Address, Peer
    from ingresskit.proxy.message.front import Front
    from ingresskit.proxy.ports.streams import RequestReceiver
    from ingresskit.proxy.ports.tunnels import ByteReceiver

__all__ = ["LINGER_SILENCE", "H1Connection", "State"]

# How often to look whether a client that is not read is still there.
_LOOK_SECONDS: Final = 2.0
# As long as nginx lingers: for a client that writes all of an upload before it reads.
_LINGER_SECONDS: Final = 30.0
_LINGER_DRAINING: Final = 2.0
LINGER_SILENCE: Final = 5.0
"""Seconds without a byte that end a lingering connection."""


class State(IntEnum):
    """Where a connection stands; see the module."""

    HEAD = 0
    BODY = 1
    WAIT = 2
    TUNNEL = 3
    LINGER = 4
    CLOSED = 5


_HEAD, _BODY, _WAIT, _TUNNEL, _LINGER, _CLOSED = State


class H1Connection(asyncio.Protocol, ABC):
    """A connection from a client: its `ClientConnection`, without the messages.

    Attributes:
        write_paused: The client takes nothing at the moment.
        given_up: It is closed to make room for others.
        timed_out: It took nothing for too long, and is cut.
        read_pauses: Why it is not read at the moment; 0 when it is.
    """

    __slots__ = (
        "_admission",
        "_body",
        "_bounded",
        "_buffer",
        "_charged",
        "_clients",
        "_exchange",
        "_front",
        "_linger_until",
        "_owner",
        "_peer",
        "_proxied",
        "_runtime",
        "_state",
        "_tls",
        "_tunnel",
        "bucket",
        "deadline",
        "given_up",
        "read_pauses",
        "timed_out",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        admission: Admission,
        clients: Clients,
        *,
        tls: bool,
        proxied: tuple[Address, int] | None = None,
        front: Front | None = None,
    ) -> None:
        self._admission = admission
        self._runtime: Runtime = admission.runtime
        self._clients = clients
        self._tls = tls
        self._proxied = proxied
        self._front = front
        self._peer: Peer | None = None
        self._owner: Owner | None = None
        self._bounded = True
        self._charged = False
        self._state = _HEAD
        self._buffer = b""
        self._body: Body | None = None
        self._exchange: RequestReceiver | None = None
        self._tunnel: ByteReceiver | None = None
        self._linger_until = 0.0
        self.read_pauses: int = 0
        self.write_paused: bool = False
        self.given_up: bool = False
        self.timed_out: bool = False
        self.deadline: float = NEVER
        self.bucket: int | None = None

    # For the event loop.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        runtime, clients = self._runtime, self._clients
        counters = runtime.counters
        self.transport = cast(asyncio.Transport, transport)
        clients.made(self)
        self._peer = self._find_peer()
        if self._peer is None or runtime.refusing:
            counters.connections_total += 1
            counters.connections_refused += runtime.refusing
            self._state = _CLOSED
            self.transport.abort()
            return
        owner = owner_of(self._peer.address)
        if not clients.crowd.has_room(owner, tls=self._tls):
            clients.refused()
            self._state = _CLOSED
            self.transport.abort()
            return
        counters.connections_total += 1
        clients.crowd.add(self, owner, tls=self._tls)
        self._owner = owner
        self._bounded = not self._peer.trusted
        self.transport.set_write_buffer_limits(high=runtime.settings.buffer_bytes)
        deadlines = runtime.deadlines
        deadlines.set(self, deadlines.now() + runtime.timeouts.header)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._buffer = b""
        clients, deadlines = self._clients, self._runtime.deadlines
        deadlines.now()
        deadlines.forget(self)
        clients.lost(self)
        if self._owner is not None:
            clients.crowd.discard(self, self._owner, tls=self._tls)
            if self._charged:
                clients.memory.charge(self, self._owner, 0, bounded=False)
        exchange, self._exchange = self._exchange, None
        tunnel, self._tunnel = self._tunnel, None
        if exchange is not None:
            exchange.client_lost()
        if tunnel is not None:
            tunnel.lost()

    def _hand_connection_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        """Let *protocol* have the connection, and *data* first; it is a new one to all who count."""
        self._state = _CLOSED
        self._buffer = b""
        runtime, clients = self._runtime, self._clients
        runtime.deadlines.forget(self)
        clients.lost(self)
        if self._owner is not None:
            clients.crowd.discard(self, self._owner, tls=self._tls)
            if self._charged:
                clients.memory.charge(self, self._owner, 0, bounded=False)
        runtime.counters.connections_total -= 1
        runtime.counters.received_bytes -= len(data)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    # For the limits, and for the proxy when it stops.

    @property
    def is_idle(self) -> bool:
        """Whether its client loses nothing when it ends: no request has begun, or all is over."""
        return self._state is _LINGER or (self._state is _HEAD and not self._buffer and not self.write_paused)

    def drain(self) -> None:
        """Close now when idle; else the end of the present request is the end."""
        if self._state is _HEAD and not self._buffer and self._exchange is None:
            self.close()
        elif self._state is _LINGER:
            deadlines = self._runtime.deadlines
            self._linger_until = deadlines.now() + _LINGER_DRAINING
            deadlines.set(self, min(self.deadline, self._linger_until))

    def close(self) -> None:
        """Close when what is written has been sent."""
        if self._state is not _CLOSED:
            self._state = _CLOSED
            self.transport.close()
            runtime = self._runtime
            deadlines = runtime.deadlines
            deadlines.set(self, deadlines.now() + runtime.timeouts.client_write)

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def give_up(self, reason: str) -> None:
        """End it to make room for others; *reason* is the limit that was reached."""
        if self._state is _CLOSED:
            return
        self.given_up = True
        self._clients.given_up(reason)
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
        if self.write_paused:
            size += self.transport.get_write_buffer_size()
        if self._exchange is not None:
            size += self._exchange.waiting_bytes
        self._charged = size > 0
        self._clients.memory.charge(self, self._owner, size, bounded=self._bounded)

    # Reading and waiting.

    def deadline_passed(self) -> None:
        """For `Deadlines`."""
        if self.write_paused or self._state in (_LINGER, _CLOSED):
            self.timed_out = self.write_paused
            self.transport.abort()
        elif self._state is _HEAD:
            if self._buffer:
                self._refuse(BadRequest(408, ""))
            else:
                self.close()
        elif self.read_pauses:
            self._look_for_client()
        elif self._state is _BODY and self._exchange is not None:
            self._exchange.client_timed_out()

    def has_left(self) -> bool:
        """Whether the client closed the connection, also while nothing is read of it."""
        return self._state is _CLOSED or has_left(self.transport)

    def pause_reading(self, reason: int) -> None:
        """Read no more, for one more *reason*: a bit of `read_pauses`."""
        if not self.transport.is_closing():
            if not self.read_pauses:
                self.transport.pause_reading()
            if self._state in (_BODY, _WAIT) and not self.write_paused:
                deadlines = self._runtime.deadlines
                deadlines.set(self, deadlines.recent + _LOOK_SECONDS)
        self.read_pauses |= reason
        self.recharge()

    def resume_reading(self, reason: int) -> None:
        """Take *reason* back: several bits at once, or one that is not there, are fine."""
        if not self.read_pauses:
            return
        self.read_pauses &= ~reason
        if self._charged:
            self.recharge()
        if not self.read_pauses and not self.transport.is_closing():
            self.transport.resume_reading()
            if self._state in (_BODY, _WAIT):
                self._restart_deadline()

    def _look_for_client(self) -> None:
        """It is not read, so its end would not be seen."""
        if has_left(self.transport):
            self.transport.abort()
        else:
            deadlines = self._runtime.deadlines
            deadlines.set(self, deadlines.now() + _LOOK_SECONDS)

    def _restart_deadline(self) -> None:
        deadlines, timeouts = self._runtime.deadlines, self._runtime.timeouts
        now = deadlines.recent
        if self.write_paused:
            deadlines.set(self, now + timeouts.client_write)
        elif self._state is _HEAD:
            deadlines.set(self, now + (timeouts.header if self._buffer else timeouts.idle))
        elif self.read_pauses:
            deadlines.set(self, now + _LOOK_SECONDS)
        elif self._state is _BODY:
            deadlines.set(self, now + timeouts.body)
        elif self._state is _WAIT:
            deadlines.set(self, NEVER)

    # The end.

    @abstractmethod
    def _refuse(self, refusal: BadRequest) -> None:
        """Respond to a request that could not be read, and end the connection."""

    def _linger(self) -> None:
        # TLS has no half-close here: its client knows the end of the response by the length of the body.
        # One that does not send a body has nothing on its way that a reset could be the response to.
        uploads = self._state is _BODY
        if self.transport.is_closing() or not (uploads if self._tls else half_close(self.transport)):
            self.close()
            return
        self._state = _LINGER
        self._body = None
        self._buffer = b""
        self.resume_reading(self.read_pauses)
        deadlines = self._runtime.deadlines
        now = deadlines.now()
        self._linger_until = now + (_LINGER_DRAINING if self._runtime.draining else _LINGER_SECONDS)
        deadlines.set(self, min(self._linger_until, now + LINGER_SILENCE))

    def _find_peer(self) -> Peer | None:
        """Who is there; ``None`` when it is gone already."""
        if self._front is not None:
            return self._front.connection
        return find_peer(self.transport, self._admission, tls=self._tls, proxied=self._proxied)
