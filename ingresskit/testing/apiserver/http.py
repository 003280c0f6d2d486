"""One connection: HTTP/1.1 as h11 reads and writes it, on a stream of anyio.

Cuts and half-open watches are made here, because they are things that happen to octets.
"""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import anyio
import anyio.abc
import h11

from ingresskit.testing.apiserver.faults import Cut
from ingresskit.testing.apiserver.requests import Request, Response

__all__ = ["Connection", "ConnectionLost"]

_READ_BYTES = 64 * 1024
_BODY_LIMIT = 3 * 1024 * 1024
_COMPRESS_FROM = 128 * 1024
_REASONS = {item.value: item.phrase for item in HTTPStatus}


class ConnectionLost(Exception):
    """Raised when a connection is over, whoever ended it."""


class Connection:
    """The server's end of one connection.

    Args:
        stream: The octets.
        raw: The socket below.
        certificate_user: Whom the client's certificate names; empty without one.
        gate: Awaited before anything is sent: a paused server does not get past it.
    """

    def __init__(
        self,
        stream: anyio.abc.ByteStream,
        raw: socket.socket,
        *,
        certificate_user: str = "",
        gate: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._raw = raw
        self._user = certificate_user
        self._gate = gate
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._cut: Cut | None = None
        self._sent = 0
        self._accepts_gzip = False
        self._bare = False

    async def receive(self) -> Request | None:
        """The next request; ``None`` when the client is done.

        Raises:
            ConnectionLost: The connection broke, or what came is no HTTP; it was answered with 400 then.
        """
        if self._http.our_state is h11.MUST_CLOSE or self._http.our_state is h11.ERROR:
            return None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        self._cut, self._sent = None, 0
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _BODY_LIMIT:
                    await self._refuse(413, f"Request entity too large: limit is {_BODY_LIMIT}")
                    raise ConnectionLost
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                self._bare = head.method == b"HEAD"
                self._accepts_gzip = "gzip" in headers.get("accept-encoding", "")
                return Request(
                    method=head.method.decode("ascii"),
                    target=head.target.decode("latin-1"),
                    headers=headers,
                    body=bytes(body),
                    certificate_user=self._user,
                )
            elif isinstance(event, h11.ConnectionClosed):
                return None

    async def _next_event(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as exc:
                await self._refuse(exc.error_status_hint, str(exc))
                raise ConnectionLost from exc
            if event is h11.PAUSED:
                raise ConnectionLost
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            try:
                data = await self._stream.receive(_READ_BYTES)
            except anyio.EndOfStream:
                data = b""
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
                raise ConnectionLost from exc
            self._http.receive_data(data)

    async def _refuse(self, status: int, why: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.respond(Response(status=status, body=why.encode() + b"\n", content_type="text/plain"))

    async def wait_closed(self) -> None:
        """Return when the client closes its end. What it sends meanwhile is kept for later."""
        while True:
            try:
                self._http.receive_data(await self._stream.receive(_READ_BYTES))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return

    async def respond(self, response: Response, cut: Cut | None = None) -> None:
        """Send a whole response.

        Raises:
            ConnectionLost: The client is gone, or *cut* has closed the connection.
        """
        body, headers = response.body, list(response.headers)
        if self._accepts_gzip and len(body) > _COMPRESS_FROM and cut is None:
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        await self._start(response.status, response.content_type, headers, cut)
        if not self._bare:
            await self.send_body(body)
        await self._send(self._http.send(h11.EndOfMessage()))

    async def start_stream(self, cut: Cut | None = None) -> None:
        """Send the head of a watch.

        Raises:
            ConnectionLost: The client is gone.
        """
        await self._start(200, "application/json", [("Transfer-Encoding", "chunked")], cut)

    async def _start(self, status: int, kind: str, headers: list[tuple[str, str]], cut: Cut | None) -> None:
        self._cut = cut
        common = [("Cache-Control", "no-cache, private"), ("Content-Type", kind)]
        reason = _REASONS.get(status, "")
        head = h11.Response(status_code=status, headers=common + headers, reason=reason)
        await self._send(self._http.send(head))

    def set_cut(self, cut: Cut | None) -> None:
        """From here on, count towards *cut*; what has been sent before does not count."""
        if cut is not self._cut:
            self._cut, self._sent = cut, 0

    async def send_body(self, data: bytes) -> None:
        """Send a part of the body, of a watch in a chunk of its own.

        Raises:
            ConnectionLost: The client is gone, or the cut has closed the connection.
        """
        place = self._cut.place(self._sent, data) if self._cut else None
        if place is not None:
            data = data[:place]
        if data:
            await self._send(self._http.send(h11.Data(data=data)))
            self._sent += len(data)
        if place is not None and self._cut is not None:
            await self.abort(reset=self._cut.reset)
            raise ConnectionLost

    async def end_stream(self) -> None:
        """End a watch in good order.

        Raises:
            ConnectionLost: The client is gone.
        """
        await self._send(self._http.send(h11.EndOfMessage()))

    async def abort(self, *, reset: bool = False) -> None:
        """Close the connection at once, by a TCP reset if *reset*."""
        if reset:
            # On, with a time of 0: closing sends RST.
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self._stream)

    async def _send(self, data: bytes | None) -> None:
        await self._gate()
        try:
            await self._stream.send(data or b"")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            raise ConnectionLost from exc
