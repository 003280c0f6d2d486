"""Driving a real proxy over real sockets: endpoints that echo, and a client that tells what it saw.

Everything listens on 127.0.0.1. The endpoints of a scenario have addresses of a cluster; a
`LoopbackWorld` starts an echo server for each and gives the graph whose endpoints are those servers.

A service that authenticates may be one of them: ``http://bar.default.svc.cluster.local/echo-status/401`` is
moved too, and responds with that status, ``X-User: ann`` and a cookie.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSAttribute, TLSStream

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, Certificate, Endpoint, Protocol, Route, RouteGraph
from ingresskit.policies import ExternalAuth, PolicySet, RequestText
from ingresskit.testing import pace
from ingresskit.testing.certificates import make_certificate
from ingresskit.testing.scenario import Answer, Ask, Scenario, endpoint_text

__all__ = ["Address", "LoopbackWorld", "certificate_fingerprint", "connect_tls", "open_loopback"]

Address = tuple[str, int]
"""A host and a port to connect to."""

_ECHO = "application/x-echo+json"
_MAX_HEAD = 65536
_DEADLINE_SECONDS = pace.within(10)


class LoopbackWorld:
    """The endpoints of a graph, played on this machine. Made by `open_loopback`.

    Attributes:
        graph: The graph with every endpoint moved to its echo server.
    """

    def __init__(self, graph: RouteGraph, moved: RouteGraph) -> None:
        self.graph = moved
        self._secrets = {certificate_fingerprint(item): str(key) for key, item in graph.certificates.items()}

    async def ask(self, ask: Ask, *, http: Address, https: Address | None = None) -> Answer:
        """Send a request to a proxy that serves `graph`, on a connection of its own.

        Args:
            ask: The request.
            http: Where the proxy takes plain requests.
            https: Where it takes TLS.

        Returns:
            What came back; its status is 0 when the proxy closed the connection without an answer.

        Raises:
            ConfigurationError: The request wants TLS and there is no *https*.
            TimeoutError: Nothing came back within 10 seconds.
            OSError: The proxy does not take connections.
        """
        address = https if ask.tls else http
        if address is None:
            raise ConfigurationError("the request wants TLS, and the proxy has no address for that")
        with anyio.fail_after(_DEADLINE_SECONDS):
            stream: anyio.abc.ByteStream
            fingerprint = None
            if ask.tls:
                stream = await connect_tls(address, ask.server_name)
                der = stream.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610 - not Django's
                fingerprint = _digest(der or b"")
            else:
                stream = await anyio.connect_tcp(*address)
            try:
                answer = await _exchange(stream, ask)
            finally:
                await anyio.aclose_forcefully(stream)
        if fingerprint is None:
            return answer
        return replace(answer, certificate=self._secrets.get(fingerprint, ""))

    async def run(self, scenario: Scenario, *, http: Address, https: Address | None = None) -> tuple[str, ...]:
        """Send every request of *scenario*; what is wrong with the answers, each as a sentence."""
        faults: list[str] = []
        for want in scenario.wants:
            answers = [await self.ask(want.ask, http=http, https=https) for _ in range(want.times)]
            faults += want.faults(answers)
        return tuple(faults)


@asynccontextmanager
async def open_loopback(graph: RouteGraph) -> AsyncGenerator[LoopbackWorld]:
    """Play the endpoints of *graph* for as long as the context is open.

    Raises:
        ConfigurationError: A backend speaks something else than HTTP or HTTPS.
    """
    async with anyio.create_task_group() as tasks:
        backends: dict[BackendKey, Backend] = {}
        for key, backend in graph.backends.items():
            endpoints: list[Endpoint] = []
            for item in backend.endpoints:
                echo = _Echo(key, item, backend.protocol)
                port = await echo.start(tasks)
                endpoints.append(replace(item, address="127.0.0.1", port=port))
            endpoints.sort(key=lambda item: item.port)
            backends[key] = replace(backend, endpoints=tuple(endpoints))
        yield LoopbackWorld(graph, replace(_with_services(graph, backends), backends=backends))
        tasks.cancel_scope.cancel()


def _with_services(graph: RouteGraph, backends: Mapping[BackendKey, Backend]) -> RouteGraph:
    """*graph* with the services that authenticate moved to where their endpoints are."""
    if not any(ExternalAuth in route.policies for host in graph.virtual_hosts for route in host.routes):
        return graph
    places = {
        f"http://{key.service}.{key.namespace}.svc.cluster.local": f"http://127.0.0.1:{backend.endpoints[0].port}"
        for key, backend in sorted(backends.items())
        if backend.endpoints
    }

    def moved(route: Route) -> Route:
        auth = route.policies.get(ExternalAuth)
        if auth is None or not auth.url or not isinstance(first := auth.url.parts[0], str):
            return route
        for name, place in places.items():
            first = first.replace(f"{name}/", f"{place}/")
        policy = replace(auth, url=RequestText((first, *auth.url.parts[1:])))
        return replace(route, policies=route.policies.merged(PolicySet([policy])))

    hosts = (replace(host, routes=tuple(map(moved, host.routes))) for host in graph.virtual_hosts)
    return replace(graph, virtual_hosts=tuple(hosts))


async def connect_tls(address: Address, server_name: str | None) -> TLSStream:
    """A TLS connection that trusts everybody: whose certificate is shown is the question.

    Raises:
        ssl.SSLError: The handshake failed.
        OSError: There is no connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    stream = await anyio.connect_tcp(*address)
    return await TLSStream.wrap(
        stream, server_side=False, hostname=server_name, ssl_context=context, standard_compatible=False
    )


def certificate_fingerprint(certificate: Certificate) -> str:
    """SHA-256 of a certificate's leaf as a TLS client sees it, lower-case hexadecimal."""
    leaf, end, _ = certificate.chain.decode().partition("-----END CERTIFICATE-----")
    return _digest(ssl.PEM_cert_to_DER_cert(leaf[leaf.index("-----BEGIN") :] + end))


@dataclass(frozen=True, slots=True)
class _Echo:
    """An endpoint that answers every request with what it saw of it."""

    key: BackendKey
    endpoint: Endpoint
    protocol: Protocol

    async def start(self, tasks: anyio.abc.TaskGroup) -> int:
        """Serve until *tasks* are cancelled.

        Returns:
            The port on 127.0.0.1.
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
                    if length := int(fields.get("content-length", "0")):
                        await received.receive_exactly(length)
                    await stream.send(self._answer(target, fields))
            except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.EndOfStream, ssl.SSLError):
                return

    def _answer(self, target: str, fields: Mapping[str, str]) -> bytes:
        seen = {
            "service": f"{self.key.namespace}/{self.key.service}",
            "endpoint": endpoint_text(self.endpoint.address, self.endpoint.port),
            "target": target,
            "fields": dict(fields),
        }
        status = re.match(r"/echo-status/([2-5][0-9]{2})(?![0-9])", target)
        body = b"" if status and status[1] == "204" else json.dumps(seen).encode()
        head = [
            f"HTTP/1.1 {status[1]} Echo" if status else "HTTP/1.1 200 OK",
            f"Content-Type: {_ECHO}",
            f"Content-Length: {len(body)}",
            "X-Powered-By: echo",
        ]
        if status:
            head += ["X-User: ann", "WWW-Authenticate: Echo", "Set-Cookie: echo=1"]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@functools.cache
def _echo_context() -> ssl.SSLContext:
    made = make_certificate("echo.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the only way that ssl takes them
        file.write(made.chain + made.private_key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def _exchange(stream: anyio.abc.ByteStream, ask: Ask) -> Answer:
    fields = {"Host": ask.host, "Connection": "close", **ask.headers}
    lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    received = bytearray()
    try:
        await stream.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        while True:
            received += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
        return _read_answer(bytes(received))


def _read_request(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    return first.split(" ")[1], _read_fields(rest)


def _read_fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            known = fields.get(name.lower())
            fields[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    return fields


def _read_answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) < 2 or not parts[1].isdigit():
        return Answer(status=0)
    fields = _read_fields(rest)
    answer = Answer(status=int(parts[1]), location=fields.get("location"), response_headers=fields)
    if fields.get("content-type") != _ECHO:
        return answer
    seen = cast("dict[str, object]", json.loads(_dechunked(body) if "transfer-encoding" in fields else body))
    return replace(
        answer,
        services=frozenset({str(seen["service"])}),
        endpoints=frozenset({str(seen["endpoint"])}),
        forwarded=str(seen["target"]),
        request_headers=cast("dict[str, str]", seen["fields"]),
    )


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


def _digest(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()
