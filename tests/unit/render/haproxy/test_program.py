"""What only HAProxy has: HTTP/2 on both sides, and what it has to do in a way of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler

import anyio
import anyio.to_thread
import pytest
from typing_extensions import override

from ingresskit.graph import BackendKey, Endpoint
from ingresskit.models import Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, pace, service, tls_secret
from ingresskit.testing.loopback import LoopbackWorld, open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, free_port, state_folder
from ingresskit.translate import translate
from tests.unit.render.haproxy import http2
from tests.unit.render.haproxy.serving import needs_haproxy, open_restarting

pytestmark = [pytest.mark.anyio, needs_haproxy]

_LIMIT = 20_000
_FIELDS = f"X-One: {'a' * 4000}\nX-Two: {'b' * 4000}\nX-Three: {'c' * 160}"
_LARGEST = {"request-headers-set": _FIELDS, "response-headers-set": _FIELDS, "rewrite-prefix": "/" + "r" * 1000}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_NGINX = shutil.which("nginx")
needs_nginx = pytest.mark.skipif(_NGINX is None, reason="needs nginx as an endpoint")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def h2c_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    """The port of an endpoint that speaks HTTP/2 without TLS, and nothing else."""
    if _NGINX is None:
        yield 0
        return
    folder, port = tmp_path_factory.mktemp("h2c"), free_port()
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} http2;"
        ' return 200 "$server_protocol $host $request_uri"; } }\n'
    )
    with _process(_NGINX, "-p", str(folder), "-c", str(path)):
        yield port


class _WebSocketEndpoint(socketserver.StreamRequestHandler):
    """Agrees to a WebSocket, and says once what it was told."""

    @override
    def handle(self) -> None:
        lines = list(iter(lambda: self.rfile.readline().strip().decode(), ""))
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if fields.get("upgrade") != "websocket" or fields.get("connection", "").lower() != "upgrade":
            self.wfile.write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            return
        accepted = hashlib.sha1(fields["sec-websocket-key"].encode() + _GUID, usedforsecurity=False).digest()
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accepted) + b"\r\n\r\n"
        )
        self.wfile.write(b"echo " + self.connection.recv(65536))


class _CountingEndpoint(BaseHTTPRequestHandler):
    """Says by which of its connections a request came, and whether it was told to end it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.client_address[1]} {self.headers.get('Connection')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def websocket_endpoint() -> Generator[int]:
    """The port of an endpoint that speaks WebSocket."""
    with _serving(_WebSocketEndpoint) as port:
        yield port


@pytest.fixture(scope="module")
def counting_endpoint() -> Generator[int]:
    """The port of an endpoint that tells its connections apart."""
    with _serving(_CountingEndpoint) as port:
        yield port


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Generator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True  # connections that HAProxy keeps are no reason to wait
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def _process(*command: str) -> Generator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
async def served(
    anyio_backend: str, h2c_endpoint: int, websocket_endpoint: int, counting_endpoint: int
) -> AsyncGenerator[tuple[Plane, LoopbackWorld]]:
    paths = {"/": "one", "/h2c": "two", "/chat": "three", "/count": "four"}
    objects = [
        ingress_class(),
        ingress("open", {"a.test": paths}, tls={"tls": ["a.test"]}, annotations={"tls-redirect": "false"}),
        ingress("limited", {"b.test": paths}, annotations={"body-limit": str(_LIMIT)}),
        ingress("large", {"c.test": paths}, annotations=_LARGEST),
        service("one"),
        endpoint_slice("one", "10.0.0.1"),
        service("two", app_protocol="kubernetes.io/h2c"),
        service("three"),
        service("four"),
        tls_secret("a.test"),
    ]
    graph = translate(Snapshot.of(objects)).graph
    with state_folder() as folder:
        async with open_restarting(PlaneSettings(state_dir=folder)) as plane, open_loopback(graph) as world:
            backends = dict(world.graph.backends)
            ports = {"two": h2c_endpoint, "three": websocket_endpoint, "four": counting_endpoint}
            for name, port in ports.items():
                key = BackendKey("default", name, 80)
                held = (Endpoint(address="127.0.0.1", port=port),) if port else ()
                backends[key] = replace(backends[key], endpoints=held)
            world.graph = replace(world.graph, backends=backends)
            await plane.serve(world.graph)
            yield plane, world


async def post(plane: Plane, body: bytes, *, chunked: bool, fields: Iterable[str] = ()) -> int:
    """The status of a POST to the host with a limit; what answers early need not read all of it."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = "\r\n".join(("POST /h2c HTTP/1.1", "Host: b.test", framing, *fields)).encode() + b"\r\n\r\n"
    content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body

    def send() -> int:
        with socket.create_connection(plane.http, timeout=pace.within(10)) as connection:
            with suppress(ConnectionError):
                connection.sendall(head + content)
            return int(connection.recv(65536).split(b" ")[1])

    return await anyio.to_thread.run_sync(send)


async def over_http2(plane: Plane, *fields: tuple[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    assert plane.https is not None
    port = plane.https[1]
    head = ((":method", "GET" if body is None else "POST"), (":scheme", "https"), *fields)
    return await anyio.to_thread.run_sync(lambda: http2.ask(port, head, body=body))


@needs_nginx
@pytest.mark.parametrize(
    ("size", "chunked", "status"),
    [
        pytest.param(_LIMIT, False, 200, id="a length that is the limit"),
        pytest.param(_LIMIT + 1, False, 413, id="a length over the limit"),
        pytest.param(4096, True, 200, id="short and in chunks"),
        pytest.param(4097, True, 411, id="long and in chunks"),
        pytest.param(10 * _LIMIT, True, 411, id="over the limit and in chunks"),
    ],
)
async def test_a_long_body_has_to_say_its_length_where_there_is_a_limit(
    served: tuple[Plane, LoopbackWorld], size: int, chunked: bool, status: int
) -> None:
    plane, _ = served
    answered = await post(plane, b"x" * size, chunked=chunked)

    # As much of it as HAProxy holds may be over the limit by itself.
    assert answered == status or (answered == 413 and size > _LIMIT)


@needs_nginx
async def test_a_large_head_hides_no_large_body(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served
    fields = [f"X-Large-{number}: {'x' * 4000}" for number in range(5)]

    assert await post(plane, b"x" * 100, chunked=True, fields=fields) == 411
    assert await post(plane, b"x" * 100, chunked=False, fields=fields) == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/x/../%61//b?q=%61", 200, id="a path that is not in normal form"),
        pytest.param("/..", 400, id="a path above the root"),
    ],
)
async def test_paths_are_read_alike_over_http2(
    served: tuple[Plane, LoopbackWorld], path: str, status: int
) -> None:
    plane, _ = served

    answered, body = await over_http2(plane, (":authority", "a.test"), (":path", path))

    assert answered == status
    if status == 200:
        assert b'"/a/b?q=%61"' in body


async def test_no_path_is_refused_or_the_shortest(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served

    answered, body = await over_http2(plane, (":authority", "a.test"), (":path", "*"))

    # From 3.0 on, HAProxy reads it as the URL of the host.
    assert answered == 400 or b'"target": "/"' in body


async def test_an_authority_is_a_host(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served

    assert (await over_http2(plane, (":authority", "A.Test.:443"), (":path", "/")))[0] == 200
    assert (await over_http2(plane, (":authority", "d.test"), (":path", "/")))[0] == 404
    assert (await over_http2(plane, (":authority", "a b"), (":path", "/")))[0] in (0, 400)


async def test_a_body_over_http2_has_to_say_its_length_too(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served

    answered, _ = await over_http2(plane, (":authority", "b.test"), (":path", "/"), body=b"x" * 4097)

    assert answered == 411


@needs_nginx
async def test_endpoints_may_speak_http2_without_tls(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served

    answered, body = await over_http2(plane, (":authority", "a.test"), (":path", "/h2c/x?y"))

    assert (answered, body) == (200, b"HTTP/2.0 a.test /h2c/x?y")


async def test_websockets_open_over_http2(served: tuple[Plane, LoopbackWorld]) -> None:
    plane, _ = served
    assert plane.https is not None
    port = plane.https[1]
    fields = (
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    )

    answer = await anyio.to_thread.run_sync(lambda: http2.open_tunnel(port, fields, b"hello"))

    assert answer == (200, b"echo hello")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param((), 101, id="nothing else"),
        pytest.param(("Content-Length: 0",), 101, id="a length of nothing"),
        pytest.param(("Connection: x-other",), 400, id="a second Connection"),
        pytest.param(("Upgrade: other",), 426, id="a second offer"),
    ],
)
async def test_only_an_offer_without_doubt_is_passed_on(
    served: tuple[Plane, LoopbackWorld], fields: tuple[str, ...], status: int
) -> None:
    plane, _ = served
    offer = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    head = "\r\n".join(("GET /chat HTTP/1.1", "Host: b.test", *offer, *fields, "", "")).encode()

    def ask() -> int:
        with socket.create_connection(plane.http, timeout=pace.within(10)) as connection:
            connection.sendall(head)
            return int(connection.recv(65536).split(b" ")[1])

    assert await anyio.to_thread.run_sync(ask) == status


@pytest.mark.parametrize("size", [0, 20_000, 200_000])
async def test_the_most_that_policies_set_has_room_beside_any_body(
    served: tuple[Plane, LoopbackWorld], size: int
) -> None:
    plane, _ = served
    cookie = "c" * 12_000

    def ask() -> tuple[HTTPResponse, dict[str, str]]:
        connection = HTTPConnection(*plane.http, timeout=pace.within(10))
        with closing(connection):
            connection.request("POST", "/x", body=b"x" * size, headers={"Host": "c.test", "Cookie": cookie})
            answer = connection.getresponse()
            return answer, json.loads(answer.read())["fields"]

    answer, seen = await anyio.to_thread.run_sync(ask)

    assert answer.status == 200
    for name, length in (("x-one", 4000), ("x-two", 4000), ("x-three", 160)):
        assert len(seen[name]) == len(answer.headers[name]) == length
    assert seen["cookie"] == cookie


@pytest.mark.parametrize(
    ("authorization", "ends"),
    [
        pytest.param("Basic dTpw", False, id="Basic"),
        pytest.param("Bearer ntlm", False, id="Bearer"),
        pytest.param("NTLM TlRMTVNTUAAB", True, id="NTLM"),
        pytest.param("negotiate YII=", True, id="Negotiate in another spelling"),
    ],
)
async def test_a_connection_that_is_authenticated_serves_no_second_request(
    served: tuple[Plane, LoopbackWorld], authorization: str, ends: bool
) -> None:
    plane, _ = served

    def ask(times: int, **fields: str) -> list[str]:
        seen: list[str] = []
        with closing(HTTPConnection(*plane.http, timeout=pace.within(10))) as connection:
            for _ in range(times):
                connection.request("GET", "/count", headers={"Host": "b.test", **fields})
                seen.append(connection.getresponse().read().decode())
        return seen

    (told,) = await anyio.to_thread.run_sync(lambda: ask(1, Authorization=authorization))
    others = [answer for _ in range(4) for answer in await anyio.to_thread.run_sync(ask, 3)]

    number, _, connection = told.partition(" ")
    assert (connection == "close") == ends
    if ends:
        assert number not in {answer.partition(" ")[0] for answer in others}
