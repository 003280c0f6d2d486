"""The engine over ngh2, a binding of libnghttp2.

What ngh2 0.3.0 does with bad input, as its source and libnghttp2 1.70 have it, and what is made of it here:

- Most violations of the connection queue a GOAWAY; the event `ConnectionClosed` comes with the last output.
- A few raise and leave an object that does nothing more: a wrong preface, floods, blocks with more fields than
  configured. There the GOAWAY is composed here.
- Violations of one stream, malformed fields among them, reset that stream; if it was never reported, only
  `StreamClosed` names it.
- What a stream that closes has not acknowledged stays in a dictionary of ngh2, and in the window of the
  connection: so it is acknowledged here.
- PING and SETTINGS are acknowledged by the library; it gives up beyond 1,000 acknowledgements that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import ngh2
from typing_extensions import override

from ingresskit.proxy.h2.budget import Budget, build_goaway
from ingresskit.proxy.h2.engine import Engine, ErrorCode

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import EngineLimits, EngineReceiver, Fields

__all__ = ["Ngh2Engine"]

_CLIENT_STREAMS: Final = 100  # assumed until the peer's settings are here


class Ngh2Engine(Engine):
    """See `ingresskit.proxy.h2.engine.Engine`."""

    def __init__(self, receiver: EngineReceiver, limits: EngineLimits, *, server: bool) -> None:
        self._receiver = receiver
        self._server = server
        self._budget = Budget(limits.burst, limits.per_second)
        self._connection = connection = ngh2.Connection(
            ngh2.Role.SERVER if server else ngh2.Role.CLIENT,
            ngh2.Configuration(
                auto_window_update=False,
                peer_max_concurrent_streams=_CLIENT_STREAMS,
                max_reserved_remote_streams=0,
                max_send_header_block_length=1 << 20,
                stream_reset_rate_limit=(limits.burst, max(1, int(limits.per_second))),
                max_inbound_header_list_size=limits.max_field_bytes,
                max_inbound_header_count=limits.max_fields,
            ),
        )
        settings = {
            ngh2.Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
            ngh2.Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            ngh2.Setting.MAX_HEADER_LIST_SIZE: limits.max_field_bytes,
            ngh2.Setting.NO_RFC7540_PRIORITIES: 1,
        }
        if not server:
            settings[ngh2.Setting.ENABLE_PUSH] = 0
        elif limits.connect_protocol:
            settings[ngh2.Setting.ENABLE_CONNECT_PROTOCOL] = 1
        connection.initiate_connection(settings)
        connection.set_local_window_size(limits.connection_window)
        self._streams: dict[int, int] = {}  # those that were reported or opened: octets not consumed
        self._highest = 0  # of the peer's
        self._last_words = b""
        self.is_over: bool = False
        self.error_code: int = 0
        self.reason: str = ""

    @override
    def receive(self, data: bytes) -> None:
        if self.is_over:
            return
        failure: Exception | None = None
        try:
            self._connection.receive_data(data)
        except (ngh2.NGH2Error, MemoryError) as exc:
            failure = exc
        self._report(self._connection.events())
        if failure is not None:
            self._fail(failure)

    @override
    def output(self) -> bytes:
        if self.is_over:
            words, self._last_words = self._last_words, b""
            return words
        try:
            data = self._connection.data_to_send()
        except (ngh2.NGH2Error, MemoryError) as exc:
            data = b""
            self._report(self._connection.events())
            self._fail(exc)
        else:
            self._report(self._connection.events())
        if self._last_words:
            data += self._last_words
            self._last_words = b""
        return data

    # What the peer sends.

    def _report(self, events: list[ngh2.Event]) -> None:
        if not events:
            return
        receiver, streams = self._receiver, self._streams
        dropped = self._short_lived(events) if len(events) > 1 else None
        for event in events:
            if isinstance(event, ngh2.DataReceived):
                stream, data, ended = event.stream_id, event.data, event.end_stream
                if stream not in streams:
                    self._acknowledge(stream, len(data))  # it was reset within this batch
                    continue
                if data:
                    streams[stream] += len(data)
                elif not ended and not self._budget.spend(1):
                    self._calm("too many DATA frames without octets")
                    return
                receiver.data(stream, data, ended=ended)
            elif isinstance(event, ngh2.RequestReceived):
                stream = event.stream_id
                self._highest = stream
                if dropped is not None and stream in dropped:
                    continue
                streams[stream] = 0
                receiver.headers(stream, event.headers, ended=event.end_stream)
            elif isinstance(event, ngh2.ResponseReceived):
                if event.stream_id in streams:
                    receiver.headers(event.stream_id, event.headers, ended=event.end_stream)
            elif isinstance(event, ngh2.StreamClosed):
                stream = event.stream_id
                if stream in streams:
                    self._closed(stream, event.error_code)
                elif dropped is not None and stream in dropped:
                    continue  # its reset counts
                elif event.error_code and not self._budget.spend(1):
                    self._calm("too many malformed requests")
                    return
            elif isinstance(event, ngh2.WindowUpdated):
                receiver.window_opened(event.stream_id)
            elif isinstance(event, ngh2.TrailersReceived):
                if event.stream_id in streams:
                    receiver.trailers(event.stream_id, event.headers)
            elif isinstance(event, (ngh2.StreamReset, ngh2.PingReceived)):
                if not self._budget.spend(1):
                    self._calm("too many resets and pings")
                    return
            elif isinstance(event, ngh2.SettingsReceived):
                if not self._budget.spend(1):
                    self._calm("too many settings")
                    return
                receiver.settings_received()
                receiver.window_opened(0)
            elif isinstance(event, ngh2.InformationalResponseReceived):
                if event.stream_id in streams:
                    receiver.interim(event.stream_id, event.headers)
            elif isinstance(event, ngh2.PingAcknowledged):
                receiver.ping_acknowledged(event.opaque_data)
            elif isinstance(event, ngh2.GoAwayReceived):
                receiver.going_away(event.last_stream_id, event.error_code)
            elif isinstance(event, ngh2.ConnectionClosed):
                self.is_over = True
                self.error_code = event.error_code
            if self.is_over:
                return

    def _short_lived(self, events: list[ngh2.Event]) -> set[int] | None:
        """Streams that these events open and reset."""
        reset = [event.stream_id for event in events if isinstance(event, ngh2.StreamReset)]
        return {stream for stream in reset if stream not in self._streams} if reset else None

    def _closed(self, stream: int, code: int) -> None:
        if held := self._streams.pop(stream):
            self._acknowledge(stream, held)
        self._receiver.stream_closed(stream, code)

    # What is sent.

    @override
    def open(self, fields: Fields, *, last: bool) -> int:
        try:
            stream = self._connection.send_request(fields, end_stream=last)
        except ngh2.NGH2Error:
            return 0
        self._streams[stream] = 0
        return stream

    @override
    def respond(self, stream: int, fields: Fields, *, last: bool) -> None:
        if stream in self._streams:
            try:
                self._connection.send_response(stream, fields, end_stream=last)
            except ngh2.NGH2Error:
                return

    @override
    def send_interim(self, stream: int, fields: Fields) -> None:
        if stream in self._streams:
            try:
                self._connection.send_informational_response(stream, fields)
            except ngh2.NGH2Error:
                return

    @override
    def send_data(self, stream: int, data: bytes, *, last: bool) -> None:
        if stream in self._streams:
            try:
                self._connection.send_data(stream, data, end_stream=last)
            except ngh2.NGH2Error:
                return

    @override
    def send_trailers(self, stream: int, fields: Fields) -> None:
        if stream in self._streams:
            try:
                self._connection.send_trailers(stream, fields)
            except ngh2.NGH2Error:
                return

    @override
    def reset(self, stream: int, code: int) -> None:
        if stream in self._streams:
            try:
                self._connection.reset_stream(stream, code)
            except ngh2.NGH2Error:
                return

    @override
    def consume(self, stream: int, size: int) -> None:
        held = self._streams.get(stream, 0)
        if size and held:
            size = min(size, held)
            self._streams[stream] = held - size
            self._acknowledge(stream, size)

    def _acknowledge(self, stream: int, size: int) -> None:
        try:
            self._connection.acknowledge_received_data(size, stream)
        except (ngh2.NGH2Error, ValueError):
            return  # the connection ends

    @override
    def queued(self, stream: int) -> int:
        return self._connection.queued_body_size(stream or None)

    # The connection.

    @override
    def ping(self, payload: bytes) -> None:
        if not self.is_over:
            self._try(lambda: self._connection.ping(payload))

    @override
    def announce_end(self) -> None:
        if not self.is_over:
            self._try(self._connection.send_shutdown_notice)

    @override
    def go_away(self) -> None:
        if not self.is_over:
            self._try(self._connection.send_goaway)

    @override
    def terminate(self, code: int) -> None:
        if not self.is_over:
            self._try(lambda: self._connection.terminate_connection(code))

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except ngh2.NGH2Error:
            return  # it ends already

    @property
    @override
    def can_open(self) -> bool:
        try:
            return not self.is_over and self._connection.can_send_request
        except ngh2.NGH2Error:
            return False

    @property
    @override
    def peer_max_streams(self) -> int:
        try:
            return self._connection.remote_settings[ngh2.Setting.MAX_CONCURRENT_STREAMS]
        except ngh2.NGH2Error:
            return 0

    @property
    @override
    def peer_connect_protocol(self) -> bool:
        try:
            return self._connection.remote_settings[ngh2.Setting.ENABLE_CONNECT_PROTOCOL] == 1
        except ngh2.NGH2Error:
            return False

    # Ends.

    def _calm(self, reason: str) -> None:
        """The peer exceeded the budget: what it sent before is sent no response."""
        self._end(ErrorCode.ENHANCE_YOUR_CALM, reason)

    def _fail(self, exc: Exception) -> None:
        if not self.is_over:
            flooded = isinstance(exc, (ngh2.DenialOfServiceError, MemoryError))
            self._end(ErrorCode.ENHANCE_YOUR_CALM if flooded else ErrorCode.PROTOCOL_ERROR, str(exc))

    def _end(self, code: int, reason: str) -> None:
        self._last_words = build_goaway(self._highest, code)
        self.is_over = True
        self.error_code = code
        self.reason = reason
