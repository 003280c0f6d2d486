"""Sends the subrequests of filters: of a response only the head counts.

The body is not kept, so no response can take more room than a head does. Whatever goes wrong is a reply
with status 0, which every filter must treat as a refusal.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from ingresskit.facts import fact_logger
from ingresskit.filters import HeaderEdit, SubrequestReply
from ingresskit.proxy.h1.bodies import LengthBody, UntilClose, response_body
from ingresskit.proxy.h1.heads import ResponseReader
from ingresskit.proxy.h1.idle import CountingReader, IdleConnections, Line, Server
from ingresskit.proxy.message.head import BadResponse, ResponseHead
from ingresskit.proxy.tls_contexts import verifying_context
from ingresskit.proxy.upstreams.destinations import DestinationRefused
from ingresskit.proxy.upstreams.names import Names

if TYPE_CHECKING:
    from ingresskit.filters import Subrequest
    from ingresskit.policies import Authorities
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["Subrequests"]

_logger = fact_logger(__name__)

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_METHOD: Final = re.compile(rb"[A-Z]{1,32}")
_MOST_INTERIM: Final = 16
_MOST_ADDRESSES: Final = 4  # that are tried for one subrequest
_MOST_BODY: Final = 65_536  # that is read so that a connection can be used again
_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_COMPLAINT_SECONDS: Final = 10.0
_MOST_COMPLAINTS: Final = 256
_MOST_CONTEXTS: Final = 64


class Subrequests:
    """Sends subrequests; what `Runtime.send_subrequest` is. To be used on one event loop.

    Names are looked up in the background. The certificate of an https server is verified, whatever
    ingress-nginx does: its response decides who is let in.

    Args:
        settings: Of the proxy.
        clock: Seconds; never goes back.
    """

    def __init__(self, settings: ProxySettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._names = Names(clock)
        self._idle = IdleConnections()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._complaints: dict[str, float] = {}
        self._draining: set[asyncio.Task[None]] = set()

    async def __call__(self, subrequest: Subrequest, passed: bytes = b"") -> SubrequestReply:
        """The response to a subrequest; status 0 when there was none in time, or none to be trusted.

        Args:
            subrequest: What is sent.
            passed: Further lines of header fields, each with its line end.
        """
        try:
            async with asyncio.timeout(subrequest.timeout.total_seconds()):
                return await self._send(subrequest, passed)
        except TimeoutError:
            fault = "no response in time"
        except ssl.SSLError as exc:
            fault = f"TLS: {(exc.reason or 'the handshake failed').replace('_', ' ').lower()}"
        except (ValueError, BadResponse, DestinationRefused) as exc:
            fault = str(exc)
        except (OSError, EOFError, asyncio.LimitOverrunError) as exc:
            fault = type(exc).__name__
        self._complain(subrequest.url, fault)
        return SubrequestReply(status=0)

    def close(self) -> None:
        """Cut the connections that are kept, and keep no more."""
        self._idle.close()
        self._names.close()
        for task in self._draining:
            task.cancel()

    async def _send(self, subrequest: Subrequest, passed: bytes) -> SubrequestReply:
        keeps = subrequest.keepalive.connections > 0 and subrequest.method in _REPEATABLE
        url, data = _encoded(subrequest, passed, keeps=keeps)
        host, secure = url.hostname or "", url.scheme == "https"
        trust = subrequest.trusted.digest if secure else ""
        server = Server(host, url.port or (443 if secure else 80), secure, trust)
        line = self._idle.take(server) if keeps else None
        if line is not None:
            try:
                return await self._ask(line, subrequest, data)
            except (OSError, EOFError):
                # The server closed it in the meantime. A question that may be asked twice, is.
                if line.received_any:
                    raise
        return await self._ask(await self._connect(server, subrequest), subrequest, data)

    async def _ask(self, line: Line, subrequest: Subrequest, data: bytes) -> SubrequestReply:
        kept = False
        line.begin()
        try:
            line.writer.write(data)
            heads = ResponseReader(self._settings)
            for _ in range(_MOST_INTERIM):
                head = heads.read(await line.read_head())
                if head.status >= 200:
                    kept = self._keep(line, subrequest, head)
                    return SubrequestReply(status=head.status, fields=_fields(head.fields))
                if head.status == 101:
                    raise BadResponse("switch to a protocol that was not asked for")
            raise BadResponse("flood of interim responses")
        finally:
            if not kept:
                # Its body may still be coming.
                line.abort()

    def _keep(self, line: Line, subrequest: Subrequest, head: ResponseHead) -> bool:
        """Whether the connection lives on: at once, or once the body is over."""
        limits = subrequest.keepalive
        may = limits.connections and subrequest.method in _REPEATABLE and line.uses < limits.requests
        if not may or not head.keep_alive or head.connection_auth:
            return False
        body = response_body(head, head_only=subrequest.method == b"HEAD")
        if isinstance(body, UntilClose) or (head.length or 0) > _MOST_BODY:
            return False
        if isinstance(body, LengthBody) and body.complete:
            self._idle.put(line, limits)
            return True

        async def drain() -> None:
            size, done = 0, False
            try:
                async with asyncio.timeout(limits.timeout.total_seconds()):
                    while not body.complete and size <= _MOST_BODY and (read := await line.read()):
                        size += len(read)
                        _, rest = body.take(read)
                        done = body.complete and not rest
            except (OSError, ValueError, TimeoutError):
                done = False
            finally:
                if done:
                    self._idle.put(line, limits)
                else:
                    line.abort()

        task = asyncio.get_running_loop().create_task(drain())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)
        return True

    async def _connect(self, server: Server, subrequest: Subrequest) -> Line:
        """A new connection, to the first of the permitted addresses that takes one.

        Raises:
            DestinationRefused: None may be connected to.
            OSError: None takes a connection.
        """
        context = await self._tls_context(subrequest.trusted) if server.secure else None
        addresses = await self._addresses(server.host)
        share = min(self._settings.connect_timeout, subrequest.timeout / len(addresses)).total_seconds()
        trouble: OSError = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(share):
                    return await self._open(server, address, context)
            except ssl.SSLError:
                raise
            except OSError as exc:  # TimeoutError is one
                trouble = exc
        raise trouble

    async def _open(self, server: Server, address: str, context: ssl.SSLContext | None) -> Line:
        loop = asyncio.get_running_loop()
        reader = CountingReader(limit=self._settings.max_response_header_bytes, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol,
            address,
            server.port,
            ssl=context,
            server_hostname=server.host if server.secure else None,
        )
        return Line(server, reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _addresses(self, host: str) -> list[str]:
        judge = self._settings.destination_fault
        fault = "the name has no address"
        allowed: list[str] = []
        for address in await self._names.addresses(host):
            reason = judge(address) if judge is not None else None
            if reason is None:
                allowed.append(address)
            else:
                fault = f"the address is not allowed: it {reason}"
        if not allowed:
            raise DestinationRefused(fault)
        start = random.randrange(len(allowed))  # noqa: S311 - spreads load, guards nothing
        return (allowed[start:] + allowed[:start])[:_MOST_ADDRESSES]

    async def _tls_context(self, trusted: Authorities) -> ssl.SSLContext:
        """A context that verifies.

        Raises:
            OSError: The authorities cannot be used.
        """
        found = self._contexts.get(trusted.digest)
        if found is None:
            # Reads files, some hundred certificates.
            found = await asyncio.to_thread(verifying_context, trusted)
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[trusted.digest] = found
        return found

    def _complain(self, url: str, fault: str) -> None:
        """Say what went wrong, once in a while for each server. Path and query may hold credentials."""
        scheme, _, rest = url.partition("://")
        server = f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"
        now = self._clock()
        if now < self._complaints.get(server, now):
            return
        if len(self._complaints) >= _MOST_COMPLAINTS:
            self._complaints.clear()
        self._complaints[server] = now + _COMPLAINT_SECONDS
        _logger.warning("a subrequest failed", extra={"url": server, "fault": fault})


def _encoded(subrequest: Subrequest, passed: bytes, *, keeps: bool) -> tuple[SplitResult, bytes]:
    """The parts of the URL, and the request.

    Raises:
        ValueError: It cannot be sent.
    """
    url = urlsplit(subrequest.url)
    if url.scheme not in ("http", "https") or not url.hostname or not _PRINTABLE.fullmatch(subrequest.url):
        raise ValueError("the URL is not an absolute http or https URL")
    if not _METHOD.fullmatch(subrequest.method):
        raise ValueError("the method cannot be sent")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    authority = subrequest.host or url.netloc.rpartition("@")[2]
    length = b"Content-Length: 0\r\n" if subrequest.method in (b"POST", b"PUT", b"PATCH") else b""
    data = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b%b\r\n" % (
        subrequest.method,
        path.encode("ascii"),
        authority.encode("ascii"),
        passed,
        HeaderEdit(fields=subrequest.fields).lines,
        length,
        b"" if keeps else b"Connection: close\r\n",
    )
    return url, data


def _fields(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        found.append((name.lower(), value.strip(b" \t")))
    return tuple(found)
