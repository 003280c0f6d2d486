"""One HTTP/2 connection without its socket: what any library for the frames must do for the proxy.

```text
bytes of the peer ─ receive ─► Engine ─ reports to ─► EngineReceiver
bytes to the peer ◄─ output ── Engine ◄─ respond, open, send_data, … ── codec
```

An engine knows frames, HPACK, the states of streams, flow control, and the limits that keep a peer from making
the proxy work or hold without end; it knows no message. It serves either side: a server's engine reports
requests, a client's the responses to what it opened.

- `Engine.receive` reports before it returns. `Engine.output` may report too (streams that end by it);
  call it after each batch of calls, write all of it, then look at `Engine.is_over`.
- Calls for a stream that has ended do nothing: its `EngineReceiver.stream_closed` was reported, or will be.
- Nothing is received beyond the windows of `EngineLimits`. Octets that are reported count against them until
  `Engine.consume` gives them back; what a stream has not consumed when it closes is given back then.
- What is sent waits in the engine while the peer's windows are closed: `Engine.queued` says how much, and
  `EngineReceiver.window_opened` when to look again. Bounding it is the caller's.
- A stream that opens and is reset within one `receive` is not reported at all: it costs no work but its frames
  (CVE-2023-44487). Resets, and frames that bring nothing forward, are counted against a budget.

`ingresskit.proxy.h2.libraries.make_engine` takes ngh2 (libnghttp2) where it is installed, else h2; both come
with the extra ``http2``. With h2 some violations of one stream cost its connection, and each exchange about 25
times the CPU time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

__all__ = [
    "PREFACE",
    "Engine",
    "EngineLimits",
    "EngineReceiver",
    "ErrorCode",
    "Fields",
]

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in the order of the block, pseudo-header fields among them; names in lower case."""

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's connection begins with."""


class ErrorCode(IntEnum):
    """Why a stream was reset, or a connection ended (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What a peer may make an engine do and hold.

    Attributes:
        max_streams: Streams that the peer may have open at a time.
        stream_window: Octets of DATA of one stream that may be received and not consumed.
        connection_window: The same of all streams together; at least 65,535.
        max_field_bytes: For the fields of a block, each counted with 32 octets more (RFC 9113, 6.5.2). A larger
            block ends the connection; a codec that responds to it wants to set this higher than its own limit.
        max_fields: Fields of a block; the same holds for more.
        connect_protocol: Offer extended CONNECT (RFC 8441); for servers.
        burst: Resets, and frames that bring nothing forward (PING, SETTINGS, DATA without octets), that a peer
            may send at once. A connection with more ends with ``ENHANCE_YOUR_CALM``.
        per_second: How many of them it earns each second.
    """

    max_streams: int = 100
    stream_window: int = 262_144
    connection_window: int = 1_048_576
    max_field_bytes: int = 65_536
    max_fields: int = 256
    connect_protocol: bool = False
    burst: int = 500
    per_second: float = 50.0


class EngineReceiver(Protocol):
    """Receives what a peer sends: what an `Engine` reports to. Nothing here may raise."""

    def headers(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """A request (server), or a final response (client); *ended*: no body follows."""
        ...

    def interim(self, stream: int, fields: Fields) -> None:
        """An interim (1xx) response; for clients."""
        ...

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """A part of the body; perhaps without octets."""
        ...

    def trailers(self, stream: int, fields: Fields) -> None:
        """The fields after the body, which end the peer's direction of the stream."""
        ...

    def stream_closed(self, stream: int, code: int) -> None:
        """Both directions of the stream are over, once for each stream that `headers` or `Engine.open` named.

        *code* is `ErrorCode.NO_ERROR` where both ended by themselves, else that of the reset, whoever sent it.
        """
        ...

    def window_opened(self, stream: int) -> None:
        """The peer takes more of that stream; 0: of the connection, or of every stream."""
        ...

    def settings_received(self) -> None:
        """The peer's settings are known, or changed: `Engine.peer_max_streams` and its like."""
        ...

    def ping_acknowledged(self, payload: bytes) -> None:
        """The peer responded to `Engine.ping`."""
        ...

    def going_away(self, last: int, code: int) -> None:
        """The peer takes no more streams; those of ours above *last* were not processed."""
        ...


class Engine(Protocol):
    """One HTTP/2 connection, without its socket.

    Attributes:
        is_over: Nothing more is to be received or sent but the last `output`: write it, and close.
        error_code: Why, an `ErrorCode`.
        reason: What exactly, in the library's words; may be empty.
    """

    is_over: bool
    error_code: int
    reason: str

    def receive(self, data: bytes) -> None:
        """Take octets of the peer, and report what they mean. Never raises for what a peer sends."""
        ...

    def output(self) -> bytes:
        """All that may be sent now; empty when there is nothing."""
        ...

    def open(self, fields: Fields, *, last: bool) -> int:
        """Open a stream with a request; for clients.

        Args:
            fields: Pseudo-header fields first.
            last: The request has no body.

        Returns:
            The number of the stream; 0: the connection takes no more (see `can_open`).
        """
        ...

    def respond(self, stream: int, fields: Fields, *, last: bool) -> None:
        """Send the final response; for servers. *last*: it has no body."""
        ...

    def send_interim(self, stream: int, fields: Fields) -> None:
        """Send an interim response, before `respond`; for servers."""
        ...

    def send_data(self, stream: int, data: bytes, *, last: bool) -> None:
        """Send more of the body, after `open` or `respond`; *last* ends our direction."""
        ...

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Send the fields after the body, which end our direction."""
        ...

    def reset(self, stream: int, code: int) -> None:
        """Cut the stream in both directions; what waits to be sent of it is dropped."""
        ...

    def consume(self, stream: int, size: int) -> None:
        """Give *size* octets that were reported as data back to the windows of stream and connection."""
        ...

    def queued(self, stream: int) -> int:
        """Octets of `send_data` that wait for windows of the peer, or for `output`; 0: of all streams."""
        ...

    def ping(self, payload: bytes) -> None:
        """Send a PING with these eight octets."""
        ...

    def announce_end(self) -> None:
        """Send a GOAWAY that still lets in what is on its way; for servers, one round trip before `go_away`."""
        ...

    def go_away(self) -> None:
        """Take no more streams of the peer; those that are open go on."""
        ...

    def terminate(self, code: int) -> None:
        """End the connection with that `ErrorCode`; the next `output` is the last."""
        ...

    @property
    def can_open(self) -> bool:
        """Whether `open` would open a stream, the peer's limit of streams aside."""
        ...

    @property
    def peer_max_streams(self) -> int:
        """How many streams of ours the peer allows at a time; 100 until it has said so."""
        ...

    @property
    def peer_connect_protocol(self) -> bool:
        """Whether the peer, a server, offers extended CONNECT (RFC 8441)."""
        ...
