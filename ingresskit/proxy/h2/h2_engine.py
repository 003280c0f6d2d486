"""The engine over h2, in Python: where ngh2 cannot be had.

h2 frames what it is given and has no queue, so that what waits for windows waits here. It reads fields only as
the codec asks for them: what it would refuse, it would refuse with the connection. A ``Content-Length`` that is
wrong, and a frame for a stream in the wrong state, still cost the connection.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.frame_buffer
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame
from typing_extensions import override

from ingresskit.proxy.h2.budget import Budget, build_goaway
from ingresskit.proxy.h2.engine import PREFACE, Engine, ErrorCode

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import EngineLimits, EngineReceiver, Fields

__all__ = ["H2Engine"]

_HEADER: Final = 9
_MOST_STREAM: Final = (1 << 31) - 1
_FIRST_WINDOW: Final = 65_535
_ASSUMED_STREAMS: Final = 100
_Setting = h2.settings.SettingCodes


class _Frames(h2.frame_buffer.FrameBuffer):
    # It would gather a frame that is too large, up to 16 MiB, before it refuses it.
    @override
    def __next__(self) -> Frame:
        if len(self._data) >= _HEADER:
            self._validate_frame_length(int.from_bytes(self._data[:3], "big"))
        return super().__next__()


class _Connection(h2.connection.H2Connection):
    # It keeps how each of the last streams ended: by default of 65,536 of them.
    MAX_CLOSED_STREAMS = 1024

    @override
    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        # Its own closes the connection, and with it streams that the peer still serves.
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        event.additional_data = frame.additional_data
        return [], [event]


class _Stream:
    """What is kept of a stream."""

    __slots__ = ("closed_by_peer", "closed_by_us", "ends", "held", "queue", "queued", "trailers")

    def __init__(self) -> None:
        self.held = 0  # octets that were reported and not consumed
        self.queue: deque[bytes] = deque()
        self.queued = 0
        self.ends = False  # the last octet is in the queue
        self.trailers: Fields = ()
        self.closed_by_us = False
        self.closed_by_peer = False


class H2Engine(Engine):
    """See `ingresskit.proxy.h2.engine.Engine`."""

    def __init__(self, receiver: EngineReceiver, limits: EngineLimits, *, server: bool) -> None:
        self._receiver = receiver
        self._server = server
        self._limits = limits
        self._budget = Budget(limits.burst, limits.per_second)
        self._connection = connection = _Connection(
            h2.config.H2Configuration(
                client_side=not server,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        settings = {
            _Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
            _Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            _Setting.MAX_HEADER_LIST_SIZE: limits.max_field_bytes,
        }
        if not server:
            settings[_Setting.ENABLE_PUSH] = 0
        elif limits.connect_protocol:
            settings[_Setting.ENABLE_CONNECT_PROTOCOL] = 1
        connection.local_settings = h2.settings.Settings(client=not server, initial_values=settings)
        connection.incoming_buffer = _Frames(server=server)
        connection.initiate_connection()
        connection.decoder.max_header_list_size = limits.max_field_bytes
        if limits.connection_window > _FIRST_WINDOW:
            connection.increment_flow_control_window(limits.connection_window - _FIRST_WINDOW)
        self._streams: dict[int, _Stream] = {}
        self._waiting: dict[int, None] = {}  # streams whose queue waits for a window
        self._newest = 0  # stream of the peer's
        self._last: int | None = None  # stream of the peer's that is taken, after `go_away`
        self._refused = False  # the peer takes no more
        self._preface = b"" if not server else PREFACE
        self._extra = b""
        self.is_over: bool = False
        self.error_code: int = 0
        self.reason: str = ""

    @override
    def receive(self, data: bytes) -> None:
        if self.is_over:
            return
        if self._preface:
            # h2 waits for the whole of it, whatever comes.
            seen = data[: len(self._preface)]
            if not self._preface.startswith(seen):
                self._end(ErrorCode.PROTOCOL_ERROR, "wrong preface")
                return
            self._preface = self._preface[len(seen) :]
        failure: Exception | None = None
        events: list[h2.events.Event] = []
        try:
            events = self._connection.receive_data(data)
        except (h2.exceptions.H2Error, ValueError, LookupError, OverflowError) as exc:
            # What hyperframe and hpack refuse is not always translated.
            failure = exc
        self._report(events)
        if failure is not None and not self.is_over:
            known = failure if isinstance(failure, h2.exceptions.ProtocolError) else None
            code = int(known.error_code) if known is not None else ErrorCode.PROTOCOL_ERROR
            self._end(code, str(failure))

    @override
    def output(self) -> bytes:
        if self.is_over:
            data, self._extra = self._extra, b""
            return data
        for stream in list(self._waiting):
            self._pump(stream)
        data = self._connection.data_to_send() + self._extra
        self._extra = b""
        return data

    # What the peer sends.

    def _report(self, events: list[h2.events.Event]) -> None:
        receiver, streams = self._receiver, self._streams
        reset = {event.stream_id for event in events if isinstance(event, h2.events.StreamReset)}
        reset = {stream for stream in reset if stream not in streams}
        for event in events:
            if self.is_over:
                return
            if isinstance(event, h2.events.RequestReceived):
                stream = event.stream_id
                if self._last is not None and stream > self._last:
                    self._send_reset(stream, ErrorCode.REFUSED_STREAM)
                    continue
                self._newest = stream
                if stream in reset:
                    continue
                state = streams[stream] = _Stream()
                state.closed_by_peer = event.stream_ended is not None
                receiver.headers(stream, event.headers, ended=state.closed_by_peer)
            elif isinstance(event, h2.events.DataReceived):
                self._data(event)
            elif isinstance(event, h2.events.ResponseReceived):
                if (known := streams.get(event.stream_id)) is not None:
                    known.closed_by_peer = event.stream_ended is not None
                    receiver.headers(event.stream_id, event.headers, ended=known.closed_by_peer)
                    self._maybe_close(event.stream_id, known)
            elif isinstance(event, h2.events.TrailersReceived):
                if (known := streams.get(event.stream_id)) is not None:
                    known.closed_by_peer = True
                    receiver.trailers(event.stream_id, event.headers)
                    self._maybe_close(event.stream_id, known)
            elif isinstance(event, h2.events.InformationalResponseReceived):
                if event.stream_id in streams:
                    receiver.interim(event.stream_id, event.headers)
            elif isinstance(event, h2.events.StreamReset):
                if not self._spend("too many resets"):
                    return
                self._close(event.stream_id, int(event.error_code or 0))
            elif isinstance(event, h2.events.WindowUpdated):
                receiver.window_opened(event.stream_id or 0)
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                if not self._spend("too many settings"):
                    return
                receiver.settings_received()
                receiver.window_opened(0)
            elif isinstance(event, h2.events.PingReceived):
                if not self._spend("too many pings"):
                    return
            elif isinstance(event, h2.events.PingAckReceived):
                receiver.ping_acknowledged(event.ping_data)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self._refused = True
                code = int(event.error_code or 0)
                receiver.going_away(event.last_stream_id or 0, code)
                if code or not streams:
                    self.is_over, self.error_code = True, code
                    self._extra = self._connection.data_to_send()

    def _data(self, event: h2.events.DataReceived) -> None:
        stream, data, ended = event.stream_id, event.data, event.stream_ended is not None
        size = event.flow_controlled_length or 0
        state = self._streams.get(stream)
        if state is None:
            self._acknowledge(stream, size)
            return
        if not data and not ended and not self._spend("too many DATA frames without octets"):
            return
        state.held += len(data)
        if size > len(data):
            self._acknowledge(stream, size - len(data))  # padding
        state.closed_by_peer = ended
        self._receiver.data(stream, data, ended=ended)
        self._maybe_close(stream, state)

    def _maybe_close(self, stream: int, state: _Stream) -> None:
        if state.closed_by_peer and state.closed_by_us:
            self._close(stream, ErrorCode.NO_ERROR)

    def _close(self, stream: int, code: int) -> None:
        self._waiting.pop(stream, None)
        state = self._streams.pop(stream, None)
        if state is not None:
            if state.held:
                self._acknowledge(stream, state.held)
            self._receiver.stream_closed(stream, code)

    # What is sent.

    @override
    def open(self, fields: Fields, *, last: bool) -> int:
        if not self.can_open:
            return 0
        try:
            stream = self._connection.get_next_available_stream_id()
            self._connection.send_headers(stream, fields, end_stream=last)
        except h2.exceptions.H2Error:
            return 0
        state = self._streams[stream] = _Stream()
        state.closed_by_us = last
        return stream

    @override
    def respond(self, stream: int, fields: Fields, *, last: bool) -> None:
        self._send_headers(stream, fields, last=last)

    @override
    def send_interim(self, stream: int, fields: Fields) -> None:
        self._send_headers(stream, fields, last=False)

    def _send_headers(self, stream: int, fields: Fields, *, last: bool) -> None:
        state = self._streams.get(stream)
        if state is None or state.closed_by_us:
            return
        try:
            self._connection.send_headers(stream, fields, end_stream=last)
        except h2.exceptions.H2Error:
            return
        if last:
            state.closed_by_us = True
            self._maybe_close(stream, state)

    @override
    def send_data(self, stream: int, data: bytes, *, last: bool) -> None:
        state = self._streams.get(stream)
        if state is None or state.ends or state.closed_by_us:
            return
        if data:
            state.queue.append(data)
            state.queued += len(data)
        state.ends = last
        self._waiting[stream] = None

    @override
    def send_trailers(self, stream: int, fields: Fields) -> None:
        state = self._streams.get(stream)
        if state is not None and not state.ends and not state.closed_by_us:
            state.trailers = fields
            state.ends = True
            self._waiting[stream] = None

    def _pump(self, stream: int) -> None:
        """Frame what the windows let through."""
        state = self._streams.get(stream)
        if state is None:
            self._waiting.pop(stream, None)
            return
        connection = self._connection
        try:
            while state.queue:
                room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
                if room <= 0:
                    return
                data = state.queue[0]
                if len(data) > room:
                    state.queue[0] = data[room:]
                    data = data[:room]
                else:
                    state.queue.popleft()
                state.queued -= len(data)
                last = state.ends and not state.queue and not state.trailers
                connection.send_data(stream, data, end_stream=last)
                state.closed_by_us = last
            self._waiting.pop(stream, None)
            if state.ends and not state.closed_by_us:
                if state.trailers:
                    connection.send_headers(stream, state.trailers, end_stream=True)
                else:
                    connection.end_stream(stream)
                state.closed_by_us = True
        except h2.exceptions.H2Error:
            self._close(stream, ErrorCode.INTERNAL_ERROR)
            return
        self._maybe_close(stream, state)

    @override
    def reset(self, stream: int, code: int) -> None:
        if stream in self._streams:
            self._send_reset(stream, code)
            self._close(stream, code)

    def _send_reset(self, stream: int, code: int) -> None:
        try:
            self._connection.reset_stream(stream, code)
        except h2.exceptions.H2Error:
            return

    @override
    def consume(self, stream: int, size: int) -> None:
        state = self._streams.get(stream)
        if state is not None and size and state.held:
            size = min(size, state.held)
            state.held -= size
            self._acknowledge(stream, size)

    def _acknowledge(self, stream: int, size: int) -> None:
        try:
            self._connection.acknowledge_received_data(size, stream)
        except (h2.exceptions.H2Error, ValueError):
            return  # the connection ends

    @override
    def queued(self, stream: int) -> int:
        if not stream:
            return sum(state.queued for state in self._streams.values())
        state = self._streams.get(stream)
        return 0 if state is None else state.queued

    # The connection.

    @override
    def ping(self, payload: bytes) -> None:
        if not self.is_over:
            self._connection.ping(payload)

    @override
    def announce_end(self) -> None:
        # h2's own GOAWAY would end the connection.
        self._extra += build_goaway(_MOST_STREAM, ErrorCode.NO_ERROR)

    @override
    def go_away(self) -> None:
        self._last = self._newest
        self._extra += build_goaway(self._newest, ErrorCode.NO_ERROR)

    @override
    def terminate(self, code: int) -> None:
        if not self.is_over:
            self._end(code, "")

    @property
    @override
    def can_open(self) -> bool:
        return not (self.is_over or self._refused or self._server)

    @property
    @override
    def peer_max_streams(self) -> int:
        settings = self._connection.remote_settings
        return settings.get(_Setting.MAX_CONCURRENT_STREAMS, _ASSUMED_STREAMS)

    @property
    @override
    def peer_connect_protocol(self) -> bool:
        return self._connection.remote_settings.enable_connect_protocol == 1

    # Ends.

    def _spend(self, reason: str) -> bool:
        if self._budget.spend(1):
            return True
        self._end(ErrorCode.ENHANCE_YOUR_CALM, reason)
        return False

    def _end(self, code: int, reason: str) -> None:
        # All that h2 has to say, but for a GOAWAY of its own, goes before ours.
        said = self._connection.data_to_send()
        goaway = build_goaway(self._newest, code)
        self._extra = said + (b"" if said[-17:-8] == goaway[:9] else goaway)
        self.is_over = True
        self.error_code = code
        self.reason = reason
