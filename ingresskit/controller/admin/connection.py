"""One client of the admin server: HTTP/1.1, one request after the other, every wait with an end."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

import anyio
import anyio.abc
import anyio.to_thread
import h11

from ingresskit.controller.admin.access import OPEN_PATHS
from ingresskit.controller.admin.messages import (
    SECURITY_HEADERS,
    AdminRequest,
    AdminResponse,
    Stream,
    host_allowed,
    problem,
)
from ingresskit.controller.admin.settings import AdminSettings
from ingresskit.controller.admin.site import Site
from ingresskit.facts import fact_logger

__all__ = ["Connection"]

_logger = fact_logger(__name__)

_CHUNK = 64 * 1024
_LINGER = 1.0
_MOST_LINGERING_READS = 32


class Connection:
    """Serves one connection until it is closed by either side.

    Args:
        stream: The connection.
        site: Responds to the requests.
        settings: The limits.
        local: Whether the client's address is a loopback one.
        idle: Told ``True`` when the wait for a request begins, ``False`` when a request is there.
    """

    def __init__(
        self,
        stream: anyio.abc.ByteStream,
        site: Site,
        settings: AdminSettings,
        *,
        local: bool,
        idle: Callable[[bool], None],
    ) -> None:
        self._stream = stream
        self._site = site
        self._settings = settings
        self._local = local
        self._idle = idle
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.max_head_bytes)

    async def serve(self) -> None:
        """Respond to requests until the client disconnects, is too slow, or breaks the protocol."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
            await self._linger()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client went while it was answered

    async def _linger(self) -> None:
        """Close our side and read on for a moment: a close with octets unread would reset the response."""
        if self._http.their_state in (h11.DONE, h11.CLOSED, h11.MUST_CLOSE):
            return
        with anyio.move_on_after(_LINGER):
            await self._stream.send_eof()
            for _ in range(_MOST_LINGERING_READS):
                await self._stream.receive(_CHUNK)

    async def _serve_one(self) -> bool:
        """Respond to one request.

        Returns:
            Whether another one may follow.
        """
        try:
            head = await self._read_head()
        except h11.RemoteProtocolError as exc:
            self._idle(False)
            if self._http.our_state is h11.IDLE:
                await self._send(None, problem(exc.error_status_hint, f"the request cannot be read: {exc}"))
            return False
        if head is None:
            return False
        # A request that goes on after its head has a body, which nothing here wants: answer and close.
        whole = isinstance(self._http.next_event(), h11.EndOfMessage)
        request, refusal = self._judge(head)
        answer = refusal or await self._refused(request) or await self._answer(request)
        if isinstance(answer, Stream):
            await self._send_stream(answer)
            return False
        await self._send(request, answer, close=not whole)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _read_head(self) -> h11.Request | None:
        """The next request's head; ``None`` when the client went or was too slow."""
        self._idle(True)
        with anyio.move_on_after(self._settings.head_timeout.total_seconds()):
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._idle(False)
                    return event
                if event is not h11.NEED_DATA:
                    return None
                try:
                    self._http.receive_data(await self._stream.receive(_CHUNK))
                except anyio.EndOfStream:
                    self._http.receive_data(b"")
        return None

    def _judge(self, head: h11.Request) -> tuple[AdminRequest, AdminResponse | None]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        path, _, query = head.target.decode("ascii").partition("?")
        request = AdminRequest(method=head.method.decode("ascii"), path=path, query=query, headers=headers)
        # h11 measures heads that are not whole yet; one that came in a single read is measured here.
        length = len(head.target) + sum(len(name) + len(value) + 4 for name, value in head.headers)
        if length > self._settings.max_head_bytes:
            return request, problem(
                431, f"the request head is longer than {self._settings.max_head_bytes} bytes"
            )
        host = headers.get("host")
        probe = path in ("/healthz", "/readyz")
        if not probe and host is not None and not host_allowed(host, self._settings.allowed_hosts):
            return request, problem(403, f"the host {host!r} is not one that this server serves")
        if not path.startswith("/"):
            return request, problem(400, f"the request target {path!r} does not begin with a slash")
        return request, None

    async def _refused(self, request: AdminRequest) -> AdminResponse | None:
        """Why the client may not read that path; ``None`` when it may."""
        if request.path in OPEN_PATHS:
            return None
        authenticator = self._settings.authenticator
        if authenticator is None:
            text = "this address is open for health and metrics only; the rest needs authentication"
            return None if self._local else problem(403, text)
        authorization = request.headers.get("authorization", "")
        if await anyio.to_thread.run_sync(authenticator.permits, authorization):
            return None
        return problem(401, "valid credentials are missing", ("WWW-Authenticate", authenticator.challenge))

    async def _answer(self, request: AdminRequest) -> AdminResponse | Stream:
        try:
            return await self._site.answer(request)
        except Exception:
            _logger.exception("admin request failed", extra={"path": request.path})
            return problem(500, "this is a fault of the server; see its log")

    async def _send(self, request: AdminRequest | None, answer: AdminResponse, *, close: bool = True) -> None:
        headers = [*self._headers(answer.content_type), *answer.headers]
        if answer.status != 304:
            headers.append(("Content-Length", str(len(answer.body))))
        if close:
            headers.append(("Connection", "close"))
        bodiless = answer.status == 304 or (request is not None and request.method == "HEAD")
        view = memoryview(b"" if bodiless else answer.body)
        # The head and the first part of the body leave in one piece.
        head = h11.Response(status_code=answer.status, headers=headers, reason=_reason(answer.status))
        await self._write(head, h11.Data(data=bytes(view[:_CHUNK])))
        for start in range(_CHUNK, len(view), _CHUNK):
            await self._write(h11.Data(data=bytes(view[start : start + _CHUNK])))
        await self._write(h11.EndOfMessage())

    async def _send_stream(self, stream: Stream) -> None:
        async def send(data: bytes) -> None:
            await self._write(h11.Data(data=data))

        headers = [*self._headers(stream.content_type), ("Cache-Control", "no-store")]
        await self._write(h11.Response(status_code=200, headers=headers, reason=_reason(200)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._wait_gone, tasks.cancel_scope)
            try:
                await stream.feed(send)
                await self._write(h11.EndOfMessage())
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the client went, or took nothing for too long
            tasks.cancel_scope.cancel()

    async def _wait_gone(self, scope: anyio.CancelScope) -> None:
        """Cancel *scope* once the client closes; what it still sends is not read for long."""
        try:
            while True:
                await self._stream.receive(_CHUNK)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if not data:
            return
        with anyio.move_on_after(self._settings.write_timeout.total_seconds()) as scope:
            await self._stream.send(data)
        if scope.cancelled_caught:
            raise anyio.BrokenResourceError

    def _headers(self, content_type: str) -> list[tuple[str, str]]:
        date = formatdate(usegmt=True)
        return [("Date", date), ("Content-Type", content_type), *SECURITY_HEADERS]


def _reason(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()
