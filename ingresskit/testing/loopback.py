"""Driving a real proxy over real sockets: endpoints that echo, and a client that tells what it saw.

Everything listens on 127.0.0.1. The endpoints of a scenario have addresses of a cluster; a
`LoopbackWorld` starts an echo server for each and gives the graph whose endpoints are those servers.

A service that authenticates may be one of them: ``http://bar.default.svc.cluster.local/echo-status/401`` is
moved too, and responds with that status, ``X-User: ann`` and a cookie.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import anyio
import anyio.abc
from anyio.streams.tls import TLSAttribute, TLSStream

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, Certificate, Endpoint, Route, RouteGraph
from ingresskit.policies import ExternalAuth, Mirror, MirrorUrl, Policy, PolicySet, RequestText
from ingresskit.testing import pace
from ingresskit.testing._echo import ECHO, Echo, Seen, read_fields
from ingresskit.testing.authorities import make_authority
from ingresskit.testing.scenario import Answer, Ask, Scenario, Want

__all__ = ["Address", "LoopbackWorld", "certificate_fingerprint", "connect_tls", "open_loopback"]

Address = tuple[str, int]
"""A host and a port to connect to."""

_DEADLINE_SECONDS = pace.within(10)


class LoopbackWorld:
    """The endpoints of a graph, played on this machine. Made by `open_loopback`.

    Attributes:
        graph: The graph with every endpoint moved to its echo server.
    """

    def __init__(self, graph: RouteGraph, moved: RouteGraph, seen: Seen | None = None) -> None:
        self.graph: RouteGraph = moved
        self._seen: Seen = Seen() if seen is None else seen
        self._secrets = {certificate_fingerprint(item): str(key) for key, item in graph.certificates.items()}

    async def ask(
        self, ask: Ask, *, http: Address, https: Address | None = None, http2: bool = False
    ) -> Answer:
        """Send a request to a proxy that serves `graph`, on a connection of its own.

        Args:
            ask: The request.
            http: Where the proxy takes plain requests.
            https: Where it takes TLS.
            http2: Speak HTTP/2: by ALPN, or with prior knowledge. On asyncio only.

        Returns:
            What came back; its status is 0 when the proxy closed the connection without an answer.

        Raises:
            ConfigurationError: The request wants TLS and there is no *https*, or the proxy settles on another
                protocol than HTTP/2.
            TimeoutError: Nothing came back within 10 seconds.
            OSError: The proxy does not take connections.
        """
        address = https if ask.tls else http
        if address is None:
            raise ConfigurationError("the request wants TLS, and the proxy has no address for that")
        with anyio.fail_after(_DEADLINE_SECONDS):
            if http2:
                try:
                    answer, shown = await _exchange_http2(address, ask)
                except (ssl.SSLError, ConnectionError):
                    if ask.client is None and not ask.ciphers:
                        raise
                    return Answer(status=0)
                secret = self._secrets.get(_digest(shown), "") if ask.tls else answer.certificate
                return replace(answer, certificate=secret)
            stream: anyio.abc.ByteStream
            fingerprint = None
            if ask.tls and (ask.client is not None or ask.ciphers):
                # A handshake that the proxy refuses is an answer too.
                try:
                    stream = await connect_tls(address, ask.server_name, client=ask.client, ciphers=ask.ciphers)
                except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
                    return Answer(status=0)
            elif ask.tls:
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

    async def run(
        self, scenario: Scenario, *, http: Address, https: Address | None = None, http2: bool = False
    ) -> tuple[str, ...]:
        """Send every request of *scenario*; what is wrong with the answers, each as a sentence. See `ask`."""
        faults: list[str] = []
        for want in scenario.wants:
            answers = await self._answers(want, http, https, http2=http2)
            faults += want.faults(answers)
        return tuple(faults)

    async def _answers(self, want: Want, http: Address, https: Address | None, *, http2: bool) -> list[Answer]:
        answers: list[Answer] = []
        cookies: dict[str, str] = {}
        before = {name: self._seen.count(name) for name in want.copies}

        async def send(ask: Ask) -> None:
            answers.append(await self.ask(ask, http=http, https=https, http2=http2))

        if want.together:
            async with anyio.create_task_group() as tasks:
                for _ in range(want.times):
                    tasks.start_soon(send, want.ask)
            return answers
        for _ in range(want.times):
            headers = dict(want.ask.headers)
            if cookies:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
            await send(replace(want.ask, headers=headers))
            if want.keeps_cookies:
                cookies |= _cookies(answers[-1])
        if want.copies:
            with anyio.fail_after(_DEADLINE_SECONDS):
                for name, count in before.items():
                    await self._seen.wait_until(name, count + want.times)
            answers = [replace(answer, copies=want.copies) for answer in answers]
        return answers


@asynccontextmanager
async def open_loopback(graph: RouteGraph) -> AsyncGenerator[LoopbackWorld]:
    """Play the endpoints of *graph* for as long as the context is open.

    Raises:
        ConfigurationError: A backend speaks something else than HTTP or HTTPS.
    """
    seen = Seen()
    async with anyio.create_task_group() as tasks:
        backends: dict[BackendKey, Backend] = {}
        for key, backend in graph.backends.items():
            endpoints: list[Endpoint] = []
            for item in backend.endpoints:
                echo = Echo(key, item, backend.protocol, seen)
                port = await echo.start(tasks)
                endpoints.append(replace(item, address="127.0.0.1", port=port))
            endpoints.sort(key=lambda item: item.port)
            backends[key] = replace(backend, endpoints=tuple(endpoints))
        yield LoopbackWorld(graph, replace(_with_services(graph, backends), backends=backends), seen)
        tasks.cancel_scope.cancel()


def _with_services(graph: RouteGraph, backends: Mapping[BackendKey, Backend]) -> RouteGraph:
    """*graph* with the services that authenticate or get copies by URL moved to where their endpoints are."""
    places = {
        f"{key.service}.{key.namespace}.svc.cluster.local": f"127.0.0.1:{backend.endpoints[0].port}"
        for key, backend in sorted(backends.items())
        if backend.endpoints
    }
    hosts = (
        replace(host, routes=tuple(_moved(route, places) for route in host.routes))
        for host in graph.virtual_hosts
    )
    return replace(graph, virtual_hosts=tuple(hosts))


def _moved(route: Route, places: Mapping[str, str]) -> Route:
    policies: list[Policy] = []
    auth = route.policies.get(ExternalAuth)
    if auth is not None and auth.url and isinstance(first := auth.url.parts[0], str):
        for name, place in places.items():
            first = first.replace(f"http://{name}/", f"http://{place}/")
        policies.append(replace(auth, url=RequestText((first, *auth.url.parts[1:]))))
    mirror = route.policies.get(Mirror)
    if mirror is not None and isinstance(mirror.target, MirrorUrl) and mirror.target.authority in places:
        target = mirror.target._replace(authority=places[mirror.target.authority])
        policies.append(replace(mirror, target=target))
    return replace(route, policies=route.policies.merged(PolicySet(policies))) if policies else route


async def connect_tls(
    address: Address, server_name: str | None, *, client: str | None = None, ciphers: str = ""
) -> TLSStream:
    """A TLS connection that trusts everybody: whose certificate is shown is the question.

    Args:
        address: Where to.
        server_name: What the client names; ``None``: nothing.
        client: As `Ask.client`.
        ciphers: As `Ask.ciphers`.

    Raises:
        ssl.SSLError: The handshake failed.
        OSError: There is no connection.
    """
    context = _client_tls(client, ciphers)
    stream = await anyio.connect_tcp(*address)
    try:
        return await TLSStream.wrap(
            stream, server_side=False, hostname=server_name, ssl_context=context, standard_compatible=False
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def _client_tls(client: str | None, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    if client is not None:
        shown = make_authority().issue(client)
        with tempfile.NamedTemporaryFile() as file:  # the only way that ssl takes them
            file.write(shown.chain + shown.private_key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def certificate_fingerprint(certificate: Certificate) -> str:
    """SHA-256 of a certificate's leaf as a TLS client sees it, lower-case hexadecimal."""
    leaf, end, _ = certificate.chain.decode().partition("-----END CERTIFICATE-----")
    return _digest(ssl.PEM_cert_to_DER_cert(leaf[leaf.index("-----BEGIN") :] + end))


async def _exchange(stream: anyio.abc.ByteStream, ask: Ask) -> Answer:
    fields = {"Host": ask.host, "Connection": "close", **ask.headers}
    body = b"x" * ask.size
    if ask.chunked:
        fields["Transfer-Encoding"] = "chunked"
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    elif body:
        fields["Content-Length"] = str(len(body))
    lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    received = bytearray()
    try:
        await stream.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        if body:
            with contextlib.suppress(anyio.BrokenResourceError):  # the answer may come before
                await stream.send(body)
        while True:
            received += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
        return _read_answer(bytes(received))


# RFC 9113, 8.2.2: there is one connection for all requests, and its fields are not theirs.
_NOT_OVER_HTTP2 = frozenset(
    ("connection", "host", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding")
)


async def _exchange_http2(address: Address, ask: Ask) -> tuple[Answer, bytes]:
    """What came back, and the certificate that was shown."""
    # Here: what HTTP/2 needs is an extra, which those that never ask for it need not have.
    from ingresskit.testing.http2 import Http2Client, request_fields

    context = None
    if ask.tls:
        context = _client_tls(ask.client, ask.ciphers)
        context.set_alpn_protocols(["h2"])
    name = ask.server_name or ""
    body = b"x" * ask.size
    async with await Http2Client.connect(*address, tls=context, name=name) as client:
        fields = [(name, value) for name, value in ask.headers.items() if name.lower() not in _NOT_OVER_HTTP2]
        if body and not ask.chunked:
            fields.append(("content-length", str(len(body))))
        host = next((value for name, value in ask.headers.items() if name.lower() == "host"), ask.host)
        head = request_fields(
            ask.path, host=host, method=ask.method, scheme="https" if ask.tls else "http", fields=fields
        )
        stream = client.open(head, last=not body)
        if body:
            client.send(stream, body, last=True)
        response = await client.response(stream)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in response.fields)
        octets = b"HTTP/1.1 %d \r\n%b\r\n%b" % (response.status, lines, response.body)
        return _read_answer(octets) if response.status else Answer(status=0), client.certificate


def _read_answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) < 2 or not parts[1].isdigit():
        return Answer(status=0)
    fields = read_fields(rest)
    answer = Answer(status=int(parts[1]), location=fields.get("location"), response_headers=fields)
    if fields.get("content-type") != ECHO or not body:
        return answer
    seen = cast("dict[str, object]", json.loads(_dechunked(body) if "transfer-encoding" in fields else body))
    return replace(
        answer,
        services=frozenset({str(seen["service"])}),
        endpoints=frozenset({str(seen["endpoint"])}),
        forwarded=str(seen["target"]),
        request_headers=cast("dict[str, str]", seen["fields"]),
        size=cast("int", seen["size"]),
    )


def _cookies(answer: Answer) -> dict[str, str]:
    """The cookies that an answer sets, as far as several in one text can be told apart."""
    text = (answer.response_headers or {}).get("set-cookie", "")
    return dict(re.findall(r"(?:^|, )([^=;, ]+)=([^;,]*)", text))


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
