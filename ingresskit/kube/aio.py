"""The transport over asyncio: raw bytes through the Kubernetes client's connection pool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import anyio
from anyio import to_thread

from ingresskit.errors import ConfigurationError, CredentialsError, TransportError
from ingresskit.facts import fact_logger
from ingresskit.kube.credentials import Access, Credentials
from ingresskit.kube.mapping import api_error, client_errors
from ingresskit.kube.redaction import without_user
from ingresskit.kube.resources import ListOptions, ResourceKind
from ingresskit.kube.session import Session, load_client
from ingresskit.kube.transport import ByteStream, Response

if TYPE_CHECKING:
    import aiohttp

__all__ = ["AioTransport"]

_logger = fact_logger(__name__)

_ERROR_BODY_BYTES = 1024 * 1024


class AioTransport:
    """A `Transport` to a real cluster. Runs on asyncio (and uvloop), nowhere else.

    Use it as an asynchronous context manager, or call `aclose` at the end. Connections are made when they
    are needed. When the authority, our certificate or the server's address changes, new requests use new
    connections and open watches go on with the old ones. Redirects are not followed: a token goes to the
    server it is for.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        request_timeout: timedelta = timedelta(seconds=60),
        open_timeout: timedelta = timedelta(seconds=30),
        connect_timeout: timedelta = timedelta(seconds=10),
        max_body_bytes: int = 512 * 1024 * 1024,
        compression: bool = False,
        user_agent: str = "ingresskit",
    ) -> None:
        """Do nothing yet.

        Args:
            credentials: For which cluster, and as whom.
            request_timeout: For all of a request but a watch, from the first byte out to the last one in.
            open_timeout: For the headers of a watch.
            connect_timeout: For one connection, names and TLS included.
            max_body_bytes: More in one response is an error.
            compression: Ask for compressed lists. Worth it over slow lines only: it costs the server more
                time than it saves.
            user_agent: What the server's audit log shall say.

        Raises:
            ConfigurationError: A time-out is not more than zero.
        """
        if min(request_timeout, open_timeout, connect_timeout) <= timedelta(0):
            raise ConfigurationError("the time-outs of a transport must be more than zero")
        self._credentials = credentials
        self._request_timeout = request_timeout.total_seconds()
        self._open_timeout = open_timeout.total_seconds()
        self._connect_timeout = connect_timeout.total_seconds()
        self._max_body_bytes = max_body_bytes
        self._compression = compression
        self._user_agent = user_agent
        self._session: Session | None = None
        self._former: list[Session] = []  # with users, when they were looked at last
        self._closed = False
        self._refused = False  # since the last successful response, which is when it is logged again
        self._requests = 0
        self._renewals = 0
        self._sessions = 0

    async def __aenter__(self) -> AioTransport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, and return when all are closed; open watches end with an error.

        Takes a second at most, with a server that does not take part. Calling it again does nothing.
        """
        self._closed = True
        sessions = [*self._former, *([] if self._session is None else [self._session])]
        self._former, self._session = [], None
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                for session in sessions:
                    closing.start_soon(session.close)

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start: ``requests``, ``renewals`` of credentials, ``sessions`` (pools) made."""
        return {"requests": self._requests, "renewals": self._renewals, "sessions": self._sessions}

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        """One page of a collection. See `Transport.list`."""
        path = kind.path(namespace)
        response = await self.request("GET", path, query=options.query())
        _check_type(response.headers.get("content-type", ""), f"GET {path}")
        return response

    @asynccontextmanager
    async def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AsyncGenerator[ByteStream, None]:
        """An open watch. See `Transport.watch`."""
        path = kind.path(namespace)
        query = options.query(watch=True)
        # Compression makes proxies, and servers, wait for more before they send.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._exchange("GET", path, query, headers, b"", self._open_timeout) as response:
            _check_type(response.headers.get("Content-Type", ""), f"the watch of {path}")
            yield _BodyStream(response, f"the watch of {path}")

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Any other request. See `Transport.request`."""
        sent = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip" if self._compression else "identity",
            **({"Content-Type": "application/json"} if body else {}),
            **(headers or {}),
        }
        what = f"{method} {path}"
        with client_errors(what), anyio.fail_after(self._request_timeout):
            async with self._exchange(method, path, query, sent, body, self._request_timeout) as response:
                return Response(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _read(response, self._max_body_bytes, what),
                )

    def _exchange(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("AioTransport runs on asyncio only") from None
        return self._exchanged(method, path, query, headers, body, deadline)

    @asynccontextmanager
    async def _exchanged(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A successful response whose body is still to be read. Closes what was not read to its end."""
        what = f"{method} {path}"
        target = f"{path}?{urlencode(query)}" if query else path
        response: aiohttp.ClientResponse | None = None
        session: Session | None = None
        try:
            for last in (False, True):
                with client_errors(what), anyio.fail_after(deadline):
                    access = await self._credentials.access()
                    session = await self._take(access)
                    proxy = session.proxy
                    with client_errors(what, proxy=proxy.url if proxy else ""):
                        response = await self._send(session, access, method, target, headers, body)
                    if 200 <= response.status < 300:
                        self._refused = False
                        break
                    plain = proxy is not None and access.server.startswith("http:")
                    asked = f"{what} through the proxy {proxy.url}" if proxy and plain else what
                    error = await _error(response, asked)
                    if response.status != 401 or last:
                        raise error
                    response.close()
                    await session.give_back()
                    response = session = None
                    self._renewals += 1
                    level = logging.DEBUG if self._refused else logging.WARNING
                    self._refused = True
                    facts = {"server": without_user(access.server)}
                    _logger.log(level, "credentials were refused, renewing them", extra=facts)
                    try:
                        await self._credentials.renew(access)
                    except CredentialsError as exc:
                        raise error from exc
            if response is None:  # cannot be: the loop breaks with one, or raises
                raise TransportError(f"{what} was not made")
            yield response
        finally:
            if response is not None:
                # Returns the connection to the pool if the body was read to its end, else cuts it.
                response.close() if not response.content.at_eof() else response.release()
            if session is not None:
                with anyio.CancelScope(shield=True):
                    await session.give_back()

    async def _send(
        self,
        session: Session,
        access: Access,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> aiohttp.ClientResponse:
        import aiohttp
        import multidict
        import yarl

        self._requests += 1
        sent = multidict.CIMultiDict({**headers, "User-Agent": self._user_agent})
        if access.authorization:
            sent["Authorization"] = access.authorization
        for name, value in access.impersonation:
            sent.add(name, value)
        proxy = session.proxy
        to_proxy = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
        if access.server.startswith("http:"):  # the proxy reads the request itself; else only the CONNECT
            sent.update(to_proxy)
        return await session.client.request(
            method,
            yarl.URL(access.server + target, encoded=True),
            headers=sent,
            data=body or None,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            proxy_headers=to_proxy or None,
            server_hostname=access.trust.server_name or None,
            # The deadlines are ours; aiohttp's default would end every watch after five minutes.
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self._connect_timeout, sock_connect=self._connect_timeout
            ),
        )

    async def _take(self, access: Access) -> Session:
        """The pool for this access, with one user more."""
        if not self._sessions:
            await to_thread.run_sync(load_client)
        held = self._session
        if held is not None and held.trust == access.trust and held.server == access.server:
            held.take()
            return held
        if self._closed:
            raise ConfigurationError("this transport is closed")
        try:
            made = Session(access)
        except CredentialsError as exc:
            # In the middle of a rotation: a certificate whose key is not there yet. The old pair still works.
            if held is None or held.server != access.server:
                raise
            _logger.warning("new certificates cannot be used, keeping the former", extra={"error": str(exc)})
            held.take()
            return held
        self._session = made
        self._sessions += 1
        made.take()  # before anyone else can retire it
        if held is not None:
            self._former = [session for session in (*self._former, held) if not session.closed]
            await held.retire()
        return made


class _BodyStream:
    """The body of one response. The caller that opened it closes it."""

    def __init__(self, response: aiohttp.ClientResponse, what: str) -> None:
        self._response = response
        self._what = what

    async def receive(self) -> bytes:
        with client_errors(self._what):
            try:
                chunk = await self._response.content.readany()
            except RuntimeError as exc:  # aiohttp's, when `aclose` cut the connection before
                raise TransportError(f"{self._what}: the connection is closed") from exc
        if not chunk:
            raise anyio.EndOfStream
        return chunk


def _check_type(content_type: str, what: str) -> None:
    if content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise TransportError(f"{what} got a web page, not JSON: is a login page or a proxy in between?")


async def _read(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise TransportError(f"{what} got a response of more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def _error(response: aiohttp.ClientResponse, what: str) -> Exception:
    try:
        body = await _read(response, _ERROR_BODY_BYTES, what)
    except TransportError:
        body = b""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return api_error(response.status, headers, body, request=what)
