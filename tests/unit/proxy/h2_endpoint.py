"""An endpoint that speaks HTTP/2 by the library h2, and does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from typing_extensions import override

__all__ = ["Call", "H2Endpoint", "open_h2"]

Answer = Callable[["Call"], None]


@dataclass(eq=False)
class Call:
    """A request of one stream.

    Attributes:
        fields: All of them, pseudo-header fields too.
        trailers: Those after the body.
        reset: The code with which the client ended the stream.
    """

    session: Session
    stream: int
    fields: dict[bytes, bytes]
    body: bytes = b""
    ended: bool = False
    trailers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    reset: int | None = None

    def head(self, *fields: tuple[str, str], status: int = 200, last: bool = False) -> None:
        """Send the head of the response."""
        self.session.connection.send_headers(self.stream, [(":status", str(status)), *fields], end_stream=last)
        self.session.flush()

    def data(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body; what the window does not take follows when it does."""
        self.session.waiting.setdefault(self.stream, bytearray()).extend(data)
        if last:
            self.session.ending.add(self.stream)
        self.session.send_waiting()

    def end(self, *trailers: tuple[str, str]) -> None:
        """End the response with trailers."""
        self.session.connection.send_headers(self.stream, trailers, end_stream=True)
        self.session.flush()

    def reply(self, body: bytes = b"ok", *fields: tuple[str, str], status: int = 200) -> None:
        """A whole response."""
        self.head(*fields, status=status)
        self.data(body, last=True)

    def refuse(self, code: int = h2.errors.ErrorCodes.REFUSED_STREAM) -> None:
        """Reset the stream."""
        self.session.connection.reset_stream(self.stream, code)
        self.session.flush()


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, endpoint: H2Endpoint) -> None:
        self.endpoint = endpoint
        self.calls: dict[int, Call] = {}
        self.waiting: dict[int, bytearray] = {}
        self.ending: set[int] = set()
        self.most = 0
        self.acknowledges = True
        self.deaf = False
        self.lost = False
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False)
        )

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.endpoint.sessions.append(self)
        self.connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.endpoint.max_streams},
        )
        self.connection.initiate_connection()
        self.flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    @override
    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        for event in self.connection.receive_data(data):
            self._event(event)
        self.send_waiting()

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            call = Call(self, event.stream_id, dict(event.headers))
            self.calls[event.stream_id] = call
            self.endpoint.calls.append(call)
            open_now = sum(not item.ended and item.reset is None for item in self.calls.values())
            self.most = max(self.most, open_now)
            if self.endpoint.at_head:
                self.endpoint.answer(call)
        elif isinstance(event, h2.events.DataReceived):
            self.calls[event.stream_id].body += event.data
            if self.endpoint.reads:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.calls[event.stream_id].trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            call = self.calls[event.stream_id]
            call.ended = True
            if not self.endpoint.at_head:
                self.endpoint.answer(call)
        elif isinstance(event, h2.events.StreamReset):
            self.calls[event.stream_id].reset = event.error_code

    def send_waiting(self) -> None:
        for stream, data in list(self.waiting.items()):
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                while data and (room := self.connection.local_flow_control_window(stream)) > 0:
                    size = min(room, len(data), self.connection.max_outbound_frame_size)
                    self.connection.send_data(stream, bytes(data[:size]))
                    self.endpoint.sent += size
                    del data[:size]
                if not data and stream in self.ending:
                    self.ending.discard(stream)
                    self.connection.end_stream(stream)
            if not data:
                del self.waiting[stream]
        self.flush()

    def go_away(self, last: int) -> None:
        """Send a GOAWAY, and go on with the streams up to *last*."""
        payload = last.to_bytes(4, "big") + bytes(4)
        self.flush()
        self.transport.write(len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload)

    def flush(self) -> None:
        if data := self.connection.data_to_send():
            self.transport.write(data)


@dataclass
class H2Endpoint:
    """Listens on loopback.

    Attributes:
        answer: Called for each request, when it has arrived whole.
        at_head: Call it when the head of the request has arrived.
        reads: Give windows back.
        sent: Octets of bodies that were sent.
    """

    answer: Answer = lambda call: call.reply()
    at_head: bool = False
    reads: bool = True
    max_streams: int = 100
    port: int = 0
    sent: int = 0
    calls: list[Call] = field(default_factory=list[Call])
    sessions: list[Session] = field(default_factory=list[Session])


@contextlib.asynccontextmanager
async def open_h2(
    answer: Answer | None = None, *, tls: ssl.SSLContext | None = None, max_streams: int = 100
) -> AsyncGenerator[H2Endpoint]:
    """An endpoint on a free port."""
    endpoint = H2Endpoint(max_streams=max_streams)
    if answer is not None:
        endpoint.answer = answer
    server = await asyncio.get_running_loop().create_server(lambda: Session(endpoint), "127.0.0.1", 0, ssl=tls)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        server.close()
        for session in endpoint.sessions:
            session.transport.abort()
