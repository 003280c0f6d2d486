"""An endpoint that answers every request with what it saw of it.

A request has a say in the answer, by its target or by header fields:

| | |
|---|---|
| ``/echo-status/401`` | the status, with ``X-User: ann`` and a cookie |
| ``Echo-Status: 404`` | the status |
| ``Echo-Size: 100000`` | so many octets more in the body |
| ``Echo-Pause: 2.5`` | the answer comes so many seconds later |
| ``Echo-Fail: 10.0.0.1:8080`` | the endpoint with this address ends the connection in place of an answer |
| ``Echo-Set-Location: /x`` | the answer has the field ``Location: /x``; any other likewise |
"""

from __future__ import annotations

import functools
import json
import re
import socket
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from ingresskit.errors import ConfigurationError
from ingresskit.graph import BackendKey, Endpoint, Protocol
from ingresskit.testing import pace
from ingresskit.testing.authorities import make_authority
from ingresskit.testing.scenario import endpoint_text

__all__ = ["ECHO", "Echo", "Seen", "read_fields"]

ECHO = "application/x-echo+json"
"""The media type of what an `Echo` answers."""

_MAX_HEAD = 65536
_SET = "echo-set-"


class Seen:
    """How many requests each Service got, ``"namespace/name"``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._changed = anyio.Event()

    def note(self, service: str) -> None:
        """*service* got a request."""
        self._counts[service] += 1
        self._changed.set()
        self._changed = anyio.Event()

    def count(self, service: str) -> int:
        """The requests that *service* got."""
        return self._counts[service]

    async def wait_until(self, service: str, count: int) -> None:
        """Wait until *service* got *count* requests."""
        while self._counts[service] < count:
            await self._changed.wait()


@dataclass(frozen=True, slots=True)
class Echo:
    """An endpoint that answers every request with what it saw of it.

    Attributes:
        key: Its backend.
        endpoint: As the cluster has it.
        protocol: What it speaks.
        seen: Where requests are counted.
    """

    key: BackendKey
    endpoint: Endpoint
    protocol: Protocol
    seen: Seen

    async def start(self, tasks: anyio.abc.TaskGroup) -> int:
        """Serve until *tasks* are cancelled.

        Returns:
            The port on 127.0.0.1.

        Raises:
            ConfigurationError: The backend speaks something else than HTTP or HTTPS.
        """
        if self.protocol is Protocol.H2C:
            raise ConfigurationError(f"{self.key} speaks {self.protocol}, which cannot be played here")
        bound = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
        port = bound.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
        tasks.start_soon(self._listen, bound)
        return port

    async def _listen(self, bound: anyio.abc.Listener[anyio.abc.SocketStream]) -> None:
        async with bound:
            await bound.serve(self._serve)

    async def _serve(self, stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                if self.protocol is Protocol.HTTPS:
                    stream = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=_echo_context(), standard_compatible=False
                    )
                received = BufferedByteReceiveStream(stream)
                while True:
                    head = await received.receive_until(b"\r\n\r\n", _MAX_HEAD)
                    target, fields = _read_request(head)
                    size = await _read_body(received, fields)
                    if not await self._answer(stream, target, fields, size):
                        return
            except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.EndOfStream, ssl.SSLError):
                return

    async def _answer(
        self, stream: anyio.abc.ByteStream, target: str, fields: Mapping[str, str], size: int
    ) -> bool:
        """Answer a request; ``False``: the connection ends in place of an answer."""
        own = endpoint_text(self.endpoint.address, self.endpoint.port)
        self.seen.note(f"{self.key.namespace}/{self.key.service}")
        if fields.get("echo-fail") == own:
            return False
        if pause := fields.get("echo-pause"):
            await anyio.sleep(float(pause) * pace.within(1))
        seen = {
            "service": f"{self.key.namespace}/{self.key.service}",
            "endpoint": own,
            "target": target,
            "fields": dict(fields),
            "size": size,
            "more": "x" * int(fields.get("echo-size", "0")),
        }
        asked = re.match(r"/echo-status/([2-5][0-9]{2})(?![0-9])", target)
        status = asked[1] if asked else fields.get("echo-status", "200")
        body = b"" if status in ("204", "304") else json.dumps(seen).encode()
        head = [
            f"HTTP/1.1 {status} Echo",
            f"Content-Type: {ECHO}",
            *([f"Content-Length: {len(body)}"] if status not in ("204", "304") else []),
            "X-Powered-By: echo",
            *(f"{name}: {value}" for name, value in _set_by(fields)),
        ]
        if asked:
            head += ["X-User: ann", "WWW-Authenticate: Echo", "Set-Cookie: echo=1"]
        await stream.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        return True


def read_fields(lines: list[str]) -> dict[str, str]:
    """Header fields by name in lower case; several of one name are joined by commas."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            known = fields.get(name.lower())
            fields[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    return fields


def _set_by(fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name.removeprefix(_SET), value) for name, value in fields.items() if name.startswith(_SET))


def _read_request(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    return first.split(" ")[1], read_fields(rest)


async def _read_body(received: BufferedByteReceiveStream, fields: Mapping[str, str]) -> int:
    """Read the body of a request; its size."""
    if "chunked" not in fields.get("transfer-encoding", ""):
        length = int(fields.get("content-length", "0"))
        if length:
            await received.receive_exactly(length)
        return length
    total = 0
    while size := int((await received.receive_until(b"\r\n", 100)).partition(b";")[0], 16):
        await received.receive_exactly(size + 2)
        total += size
    while await received.receive_until(b"\r\n", _MAX_HEAD):
        pass
    return total


@functools.cache
def _echo_context() -> ssl.SSLContext:
    made = make_authority().issue("echo.test", "echo.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the only way that ssl takes them
        file.write(made.chain + made.private_key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
