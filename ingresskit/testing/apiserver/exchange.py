"""Serving connections: each request through the log, the faults and the API, each watch until it ends."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import anyio.abc

from ingresskit.testing.apiserver.api import Api, refusal
from ingresskit.testing.apiserver.auth import Users
from ingresskit.testing.apiserver.fault_stream import Ending, FaultyStream
from ingresskit.testing.apiserver.faults import Answer, Delay, Disconnect, Faults
from ingresskit.testing.apiserver.http import Connection, ConnectionLost
from ingresskit.testing.apiserver.hub import Hub
from ingresskit.testing.apiserver.log import RequestLog, RequestRecord
from ingresskit.testing.apiserver.manifests import encode
from ingresskit.testing.apiserver.requests import Request, Response, parse_target
from ingresskit.testing.apiserver.statuses import StatusError
from ingresskit.testing.apiserver.watch import WatchEvent, WatchSession

__all__ = ["Exchanges"]

_LAST_BOOKMARK = 2.0
_BLOCK_BYTES = 64 * 1024


class Exchanges:
    """All that goes over the connections of one server.

    Args:
        api: Who answers.
        users: Who is who.
        faults: What goes wrong.
        log: Where requests are noted.
        bookmark_seconds: Between two bookmarks.
        expired_watch: How a watch from a version that is gone is refused.

    Attributes:
        hub: Who wakes watches; set before anything is served.
    """

    hub: Hub

    def __init__(
        self,
        api: Api,
        users: Users,
        faults: Faults,
        log: RequestLog,
        *,
        bookmark_seconds: float,
        expired_watch: Literal["event", "status"],
    ) -> None:
        self.api = api
        self._users = users
        self._faults = faults
        self._log = log
        self._bookmark_seconds = bookmark_seconds
        self._expired_watch = expired_watch
        self._connections: dict[Connection, anyio.CancelScope] = {}
        self._resetting: set[Connection] = set()
        self._resumed: anyio.Event | None = None
        self._count = 0

    def drop(self, *, reset: bool) -> None:
        """Close all connections; only in the thread of the loop."""
        for connection, scope in self._connections.items():
            if reset:
                self._resetting.add(connection)
            scope.cancel()

    def pause(self, wanted: bool) -> None:
        """Stand still, or go on; only in the thread of the loop."""
        if wanted and self._resumed is None:
            self._resumed = anyio.Event()
        elif not wanted and self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    async def _gate(self) -> None:
        while self._resumed is not None:
            await self._resumed.wait()

    async def serve(self, stream: anyio.abc.ByteStream, certificate_user: str, raw: socket.socket) -> None:
        """Serve one connection until it is over."""
        connection = Connection(stream, raw, certificate_user=certificate_user, gate=self._gate)
        with anyio.CancelScope() as scope:
            self._connections[connection] = scope
            try:
                while (request := await connection.receive()) is not None:
                    await self._gate()
                    await self._exchange(connection, request)
            except ConnectionLost:
                pass
            finally:
                del self._connections[connection]
                with anyio.CancelScope(shield=True):
                    await connection.abort(reset=connection in self._resetting)
                self._resetting.discard(connection)

    async def _exchange(self, connection: Connection, request: Request) -> None:
        self._count += 1
        asked = parse_target(request.method, request.target)
        user, unknown = "", None
        try:
            user = self._users.identify(request.headers.get("authorization", ""), request.certificate_user)
        except StatusError as exc:
            unknown = exc
        record = RequestRecord(
            number=self._count,
            time=time.monotonic(),
            method=request.method,
            verb=asked.verb,
            path=asked.path,
            query=asked.query,
            group=asked.group,
            resource=asked.resource,
            subresource=asked.subresource,
            namespace=asked.namespace,
            name=asked.name,
            user=user,
            user_agent=request.headers.get("user-agent", ""),
        )
        self._log.add(record)
        try:
            answer = await self._obstructed(connection, record)
            if answer is None and unknown is not None:
                answer = refusal(unknown)
            session: WatchSession | None = None
            if answer is None:
                try:
                    result = self.api.handle(request, asked, user)
                    if isinstance(result, WatchSession):
                        session = result
                    else:
                        answer = result
                except StatusError as exc:
                    # A watch that was to begin in the future has begun when that is found out.
                    begun = exc.code == 504 or (exc.code == 410 and self._expired_watch == "event")
                    if asked.verb == "watch" and begun:
                        await self._refused_watch(connection, record, exc)
                        return
                    answer = refusal(exc)
            if session is not None:
                await self._watch(connection, session, record)
            elif answer is not None:
                record.status = answer.status
                await connection.respond(answer, self._faults.for_body(record))
        finally:
            record.ended = time.monotonic()
            self._log.touch()

    async def _obstructed(self, connection: Connection, record: RequestRecord) -> Response | None:
        """Let the faults have the request first; returns the answer that one of them gives."""
        for action in self._faults.for_request(record):
            match action:
                case Delay():
                    async with _until_closed(connection):
                        await anyio.sleep(action.seconds)
                case Disconnect():
                    await connection.abort(reset=action.reset)
                    raise ConnectionLost
                case Answer():
                    return _injected(action)
        return None

    async def _refused_watch(self, connection: Connection, record: RequestRecord, error: StatusError) -> None:
        record.status = 200
        await connection.start_stream()
        await connection.send_body(WatchEvent.error(error).line)
        await connection.end_stream()

    async def _watch(self, connection: Connection, session: WatchSession, record: RequestRecord) -> None:
        record.status = 200
        self._log.touch()
        await connection.start_stream()
        async with _until_closed(connection):
            await self._feed(connection, session, record)

    async def _feed(self, connection: Connection, session: WatchSession, record: RequestRecord) -> None:
        started = time.monotonic()
        deadline = started + session.timeout
        # Besides those in between there is one shortly before the end, if the end is not near already.
        last = deadline - _LAST_BOOKMARK if session.timeout > _LAST_BOOKMARK else deadline
        bookmark_at = min(started + self._bookmark_seconds, last)
        stream = FaultyStream(self._faults, record)
        while True:
            changed = self.hub.subscribe()
            try:
                events, over = session.poll(), False
            except StatusError as exc:
                events, over = [WatchEvent.error(exc)], True
            now = time.monotonic()
            over = over or now >= deadline
            if session.bookmarks and now >= bookmark_at and not over:
                bookmark_at = now + self._bookmark_seconds
                bookmark_at = min(bookmark_at, last) if now < last else bookmark_at
                events += [bookmark] if (bookmark := session.bookmark()) else []
            lines, ending = stream.after(events, now - started)
            connection.set_cut(self._faults.for_body(record))
            for block in _blocks(lines):
                await connection.send_body(block)
            record.events += len(lines)
            if lines:
                self._log.touch()
            if ending is Ending.SILENT:
                await anyio.sleep_forever()
            if over or ending is Ending.CLOSE:
                await connection.end_stream()
                return
            check = stream.next_check()
            until = min(
                deadline,
                bookmark_at if session.bookmarks else deadline,
                started + check if check is not None else deadline,
            )
            with anyio.move_on_after(until - now):
                await changed.wait()


def _injected(action: Answer) -> Response:
    headers = list(action.headers)
    if action.retry_after is not None:
        headers.append(("Retry-After", str(action.retry_after)))
    body = action.body
    if body is None:
        error = StatusError(action.status, action.reason, action.message, retry_after=action.retry_after)
        body = encode(error.manifest()) + b"\n"
    return Response(status=action.status, body=body, content_type=action.content_type, headers=tuple(headers))


def _blocks(lines: list[bytes]) -> Iterator[bytes]:
    """The lines in chunks of a sensible size: thousands of initial events are not sent one by one."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


@asynccontextmanager
async def _until_closed(connection: Connection) -> AsyncGenerator[None]:
    """Do what is inside, unless the client goes first.

    Raises:
        ConnectionLost: It did.
    """
    lost = False

    async def listen(scope: anyio.CancelScope) -> None:
        nonlocal lost
        await connection.wait_closed()
        lost = True
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, tasks.cancel_scope)
        try:
            yield
        except ConnectionLost:
            lost = True
        tasks.cancel_scope.cancel()
    if lost:
        raise ConnectionLost
