"""A client of HTTP/2 for tests, on asyncio: requests in parallel, or raw frames.

It sends what it is told, also what no client should: only its frames are right. Where the frames are to be
wrong too, write to `Http2Client.writer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ingresskit.errors import ConfigurationError
from ingresskit.proxy.h2.engine import EngineLimits, Fields
from ingresskit.proxy.h2.libraries import make_engine

__all__ = ["Http2Client", "Http2Response", "client_context", "request_fields"]


def request_fields(
    path: str = "/",
    *,
    host: str,
    method: str = "GET",
    scheme: str = "http",
    fields: Iterable[tuple[str, str]] = (),
) -> list[tuple[bytes, bytes]]:
    """The fields of a request, pseudo-header fields first; names of *fields* are put in lower case."""
    pairs = [(":method", method), (":scheme", scheme), (":authority", host), (":path", path)]
    pairs += [(name.lower(), value) for name, value in fields]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def client_context() -> ssl.SSLContext:
    """A context that trusts every server and offers HTTP/2 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@dataclass
class Http2Response:
    """A response, or what there is of it.

    Attributes:
        fields: Its header fields, without ``:status``.
        status: 0 before there is one.
        body: What has been received of it.
        trailers: The fields after the body.
        interim: The interim responses before it.
        code: Why the stream ended, an error code of HTTP/2; ``None`` before that.
        complete: The server ended its direction.
    """

    fields: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    status: int = 0
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    interim: list[list[tuple[bytes, bytes]]] = field(default_factory=list[list[tuple[bytes, bytes]]])
    code: int | None = None
    complete: bool = False

    def values(self, name: str) -> list[str]:
        """The values of all fields of that name, in any spelling of it."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.fields if key == wanted]

    def value(self, name: str) -> str | None:
        """The first value of a field; ``None`` without one."""
        return next(iter(self.values(name)), None)


class Http2Client:
    """A connection to a server of HTTP/2. Make it with `connect`.

    Attributes:
        reader: Of the connection.
        writer: Of the connection.
        responses: Those of all streams, by their numbers.
        going_away_frames: The last stream and the error code of each GOAWAY.
        consumes: Whether what is received gives the windows back; a slow reader switches it off.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        library: str = "",
        window: int = 1 << 20,
    ) -> None:
        self.reader: asyncio.StreamReader = reader
        self.writer: asyncio.StreamWriter = writer
        self.responses: dict[int, Http2Response] = {}
        self.going_away_frames: list[tuple[int, int]] = []
        self.consumes: bool = True
        self._engine = make_engine(
            self,
            EngineLimits(
                stream_window=window,
                connection_window=min(1 << 30, max(65_535, 256 * window)),
                burst=1 << 30,
                max_fields=1000,
            ),
            server=False,
            library=library,
        )
        self._changed = asyncio.Event()
        self._settings = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        name: str = "",
        library: str = "",
        window: int = 1 << 20,
    ) -> Self:
        """A client that is connected, and has sent its preface.

        Args:
            host: A numeric address.
            port: Of the server.
            tls: With ``h2`` among its ALPN protocols; ``None`` is plain, with prior knowledge.
            name: The server name for TLS; empty sends none.
            library: ``"ngh2"`` or ``"h2"``; empty is the first one that is installed.
            window: Octets of each response that are received before they are consumed.

        Raises:
            OSError: There is no connection.
            ConfigurationError: The server settled on another protocol.
        """
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls, server_hostname=name if tls else None
        )
        if tls is not None:
            connection: object = writer.get_extra_info("ssl_object")
            if not isinstance(connection, ssl.SSLObject) or connection.selected_alpn_protocol() != "h2":
                writer.transport.abort()
                raise ConfigurationError("the server does not speak HTTP/2")
        made = cls(reader, writer, library=library, window=window)
        made.flush()
        made._task = asyncio.create_task(made._read())
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def certificate(self) -> bytes:
        """The certificate that the server showed, as DER; empty without TLS."""
        connection: object = self.writer.get_extra_info("ssl_object")
        der = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLObject) else None
        return der or b""

    @property
    def is_over(self) -> bool:
        """Whether the server has closed the connection."""
        return self._ended

    @property
    def max_streams(self) -> int:
        """How many streams the server allows."""
        return self._engine.peer_max_streams

    def open(self, fields: Fields, *, last: bool = True) -> int:
        """Send a request; its stream, or 0 where the connection takes no more. *last*: it has no body."""
        stream = self._engine.open(fields, last=last)
        if stream:
            self.responses[stream] = Http2Response()
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, last: bool = False) -> None:
        """Send more of a body."""
        self._engine.send_data(stream, data, last=last)
        self.flush()

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Send the fields after a body."""
        self._engine.send_trailers(stream, fields)
        self.flush()

    def reset(self, stream: int, code: int = 8) -> None:
        """Cut a stream."""
        self._engine.reset(stream, code)
        self.flush()

    def consume(self, stream: int, size: int) -> None:
        """Give octets back to the windows, where `consumes` is off."""
        self._engine.consume(stream, size)
        self.flush()

    def flush(self) -> None:
        """Send what the windows allow."""
        if (octets := self._engine.output()) and not self.writer.is_closing():
            self.writer.write(octets)

    async def ready(self) -> None:
        """Return when the settings of the server are known."""
        await self._settings.wait()

    async def response(self, stream: int) -> Http2Response:
        """The response of a stream, when it is complete, the stream reset, or the connection gone."""
        response = self.responses[stream]
        while response.code is None and not response.complete and not self._ended:
            await self._change()
        return response

    async def head(self, stream: int) -> Http2Response:
        """The response of a stream, when its head is there, or it has ended."""
        response = self.responses[stream]
        while not response.status and response.code is None and not self._ended:
            await self._change()
        return response

    async def ended(self, stream: int) -> int | None:
        """Why a stream ended, when it has; ``None``: the connection ended before."""
        response = self.responses[stream]
        while response.code is None and not self._ended:
            await self._change()
        return response.code

    async def over(self) -> None:
        """Return when the server has closed the connection."""
        while not self._ended:
            await self._change()

    async def ask(
        self,
        path: str = "/",
        *,
        host: str,
        method: str = "GET",
        fields: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Http2Response:
        """Send a request and return its response."""
        head = request_fields(path, host=host, method=method, fields=fields)
        stream = self.open(head, last=not body)
        if not stream:
            return Http2Response()
        if body:
            self.send(stream, body, last=True)
        return await self.response(stream)

    async def close(self) -> None:
        """Cut the connection."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            # All who wait for the end share a future, which one who is cancelled would cancel for all.
            await asyncio.shield(self.writer.wait_closed())

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _read(self) -> None:
        try:
            while not self._engine.is_over and (data := await self.reader.read(65536)):
                self._engine.receive(data)
                self.flush()
                self._changed.set()
        except OSError:
            pass
        finally:
            self._ended = True
            self._changed.set()
            self._settings.set()

    # What the server sends: see `ingresskit.proxy.h2.engine.EngineReceiver`.

    def headers(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """The head of a response."""
        response = self.responses[stream]
        response.status = int(dict(fields)[b":status"])
        response.fields = [(bytes(name), bytes(value)) for name, value in fields if name != b":status"]
        response.complete = ended

    def interim(self, stream: int, fields: Fields) -> None:
        """An interim response."""
        self.responses[stream].interim.append([(bytes(name), bytes(value)) for name, value in fields])

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """A part of a body."""
        response = self.responses[stream]
        response.body += data
        response.complete = ended
        if self.consumes:
            self._engine.consume(stream, len(data))

    def trailers(self, stream: int, fields: Fields) -> None:
        """The fields after a body."""
        response = self.responses[stream]
        response.trailers = [(bytes(name), bytes(value)) for name, value in fields]
        response.complete = True

    def stream_closed(self, stream: int, code: int) -> None:
        """The end of a stream."""
        self.responses[stream].code = code
        self._changed.set()

    def window_opened(self, stream: int) -> None:
        """The server takes more."""

    def settings_received(self) -> None:
        """The server's settings."""
        self._settings.set()

    def ping_acknowledged(self, payload: bytes) -> None:
        """The server responded to a ping; none is sent."""

    def going_away(self, last: int, code: int) -> None:
        """The server takes no more streams."""
        self.going_away_frames.append((last, code))
