"""Asks an edge as its clients would: with the host of a request in ``Host`` and in TLS, at a given address.

Paths are sent octet by octet as they are, which clients of libraries would tidy first. Each request has a
connection of its own.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import anyio
import anyio.abc
import httptools
from anyio.streams.tls import TLSStream

from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.graph import Request
from ingresskit.migrate import Seen

__all__ = ["Edge", "Marker", "edge_of", "tls_context"]

_PORTS: Final = {"http": 80, "https": 443}
_MOST_BODY: Final = 64 * 1024
_MOST_HEAD: Final = 64 * 1024
_CHUNK: Final = bytes(64 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What is compared of responses beside the status and the location.

    Attributes:
        header: A header field that names the backend; empty: none does.
        body: A pattern for the body whose first group, or whole, names the backend; ``None``: none does.
        fields: Header fields that are compared.
    """

    header: str = ""
    body: re.Pattern[str] | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Where a controller takes requests.

    Attributes:
        name: ``"old"`` or ``"new"``.
        addresses: Host and port for each scheme.
        timeout: Seconds for a request.
        context: For TLS.
        marker: What is compared.
    """

    name: str
    addresses: dict[str, tuple[str, int]]
    timeout: float
    context: ssl.SSLContext = field(repr=False)
    marker: Marker = Marker()

    async def check(self) -> None:
        """Return once every address takes connections.

        Raises:
            SourceError: One does not.
        """
        for scheme, (host, port) in self.addresses.items():
            try:
                with anyio.fail_after(self.timeout):
                    await anyio.aclose_forcefully(await anyio.connect_tcp(host, port))
            except (OSError, TimeoutError) as exc:
                raise SourceError(
                    f"the {self.name} edge takes no connection for {scheme} at {host}:{port}: {_cause(exc)}"
                ) from None

    async def ask(self, request: Request) -> Seen:
        """What it answers; a failure is an answer too."""
        try:
            with anyio.fail_after(self.timeout):
                async with self._connected(request) as stream:
                    return await self._exchanged(stream, request)
        except TimeoutError:
            return Seen(failure=f"no response in {self.timeout:g} seconds")
        except ssl.SSLError as exc:
            return Seen(failure=f"TLS fails: {exc.reason or exc}")
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, ExceptionGroup) as exc:
            return Seen(failure=f"no response: {_cause(exc)}")
        except httptools.HttpParserError:
            return Seen(failure="a response that is not HTTP/1.1")

    @asynccontextmanager
    async def _connected(self, request: Request) -> AsyncGenerator[anyio.abc.ByteStream]:
        host, port = self.addresses[request.scheme]
        stream: anyio.abc.ByteStream = await anyio.connect_tcp(host, port)
        try:
            if request.scheme == "https":
                stream = await TLSStream.wrap(
                    stream,
                    hostname=request.host.partition(":")[0],
                    ssl_context=self.context,
                    standard_compatible=False,
                )
            yield stream
        finally:
            await anyio.aclose_forcefully(stream)

    async def _exchanged(self, stream: anyio.abc.ByteStream, request: Request) -> Seen:
        reader = _Reader(head_only=request.method == "HEAD", wants_body=self.marker.body is not None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send, stream, request)
            while not reader.complete:
                try:
                    reader.feed(await stream.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
                    # A body without a length ends with the connection.
                    if not reader.has_head:
                        raise
                    break
            tasks.cancel_scope.cancel()
        return self._seen(reader)

    def _seen(self, reader: _Reader) -> Seen:
        fields, marker = reader.fields, self.marker
        backend = fields.get(marker.header.lower(), "") if marker.header else ""
        if marker.body is not None:
            found = marker.body.search(reader.body.decode("utf-8", "replace"))
            backend = "" if found is None else found[1 if found.re.groups else 0] or ""
        return Seen(
            status=reader.status,
            location=fields.get("location", ""),
            backend=backend,
            fields=tuple((name, fields.get(name.lower(), "")) for name in marker.fields),
        )


class _Reader:
    """The final response of a connection, as far as it is wanted."""

    def __init__(self, *, head_only: bool, wants_body: bool) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self.body = b""
        self.has_head = False
        self.complete = False
        self._head_only = head_only
        self._wants_body = wants_body
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True
        self._size += 0 if self.has_head else len(data)
        if self._size > _MOST_HEAD:
            raise httptools.HttpParserError("the head is too long")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self.has_head:
            self.fields = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:
            self.fields.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:
            self.status, self.has_head = status, True
            # What follows is not looked at.
            self.complete = self._head_only or not self._wants_body

    def on_body(self, body: bytes) -> None:
        self.body += body[: _MOST_BODY - len(self.body)]
        self.complete = self.complete or len(self.body) >= _MOST_BODY

    def on_message_complete(self) -> None:
        self.complete = self.complete or self.has_head


async def _send(stream: anyio.abc.ByteStream, request: Request) -> None:
    """Send all of it, unless the edge answers before and closes."""
    try:
        await stream.send(_head(request))
        left = int(request.headers.get("content-length", "0"))
        while left > 0:
            await stream.send(_CHUNK[:left])
            left -= len(_CHUNK)
    except (OSError, anyio.BrokenResourceError):
        pass  # the answer, or that there is none, is what counts


def _head(request: Request) -> bytes:
    lines = [f"{request.method} {request.path}{request.query} HTTP/1.1", f"Host: {request.host}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name != "host"]
    if request.method not in ("GET", "HEAD", "OPTIONS") and "content-length" not in request.headers:
        lines.append("Content-Length: 0")
    text = "\r\n".join((*lines, "Connection: close", "", ""))
    return text.encode("utf-8", "surrogateescape")


def edge_of(name: str, words: list[str], *, timeout: float, context: ssl.SSLContext, marker: Marker) -> Edge:
    """The edge at the addresses that a user gave.

    Args:
        name: ``"old"`` or ``"new"``.
        words: Each a host or an address, which stands for port 80 and 443, or a URL without a path, which
            stands for one scheme: ``"http://192.0.2.1:8080"``.
        timeout: Seconds for a request.
        context: For TLS.
        marker: What is compared.

    Raises:
        ConfigurationError: A word is neither.
    """
    addresses: dict[str, tuple[str, int]] = {}
    for word in words:
        schemes = [word.partition("://")[0]] if "://" in word else list(_PORTS)
        found = _address(word)
        if found is None or any(scheme not in _PORTS for scheme in schemes) or (found[1] and len(schemes) > 1):
            raise ConfigurationError(
                f"--{name} {word}: give an address, which stands for the ports 80 and 443, or "
                "http://ADDRESS:PORT and https://ADDRESS:PORT"
            )
        host, port = found
        for scheme in schemes:
            addresses[scheme] = (host, port or _PORTS[scheme])
    return Edge(name=name, addresses=addresses, timeout=timeout, context=context, marker=marker)


def _address(word: str) -> tuple[str, int] | None:
    """The host and the port, 0 without one; ``None``: it is none, or has more to it."""
    try:
        parts = urlsplit(word if "://" in word else f"//{word}")
        host, port = parts.hostname, parts.port or 0
    except ValueError:
        return None
    return None if host is None or parts.path.rstrip("/") or parts.query else (host, port)


def tls_context(ca: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """For connections to edges.

    Args:
        ca: Certificates of authorities that are believed in place of the system's.
        insecure: Every certificate is taken.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"--ca {ca}: {_cause(exc)}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _cause(exc: BaseException) -> str:
    """The innermost cause, for people."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        return _cause(group.exceptions[0])
    if isinstance(exc, TimeoutError):
        return "no response in time"
    if isinstance(exc, (anyio.EndOfStream, anyio.BrokenResourceError)):
        return "the connection was closed"
    if isinstance(exc, OSError):
        if exc.strerror:
            return exc.strerror
        if exc.__cause__ is not None:
            return _cause(exc.__cause__)
    return str(exc) or type(exc).__name__
