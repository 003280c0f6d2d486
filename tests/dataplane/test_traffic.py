"""Pages of errors, stand-ins for a backend, copies and compression, on every plane.

On a program that is with its delegate.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator

import pytest

from ingresskit.render.nginx import Mode
from ingresskit.testing import service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import HOST, LONG, Stage, slices
from tests.unit.proxy.conftest import FakeEndpoint, Seen, get, read_chunks, read_head, reply

pytestmark = pytest.mark.anyio

MODES = {NGINX_DYNAMIC.name: Mode.DYNAMIC, NGINX_STATIC.name: Mode.STATIC}
PAGES = {"fallback-service": "pages", "error-pages": "401, 404, 500, 503"}
SECRETS = ["Cookie: a=b", "Authorization: Basic YTpi", "X-Code: 200"]


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        if request.param == HAPROXY.name:
            async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
                yield made
        elif (mode := MODES.get(request.param)) is not None:
            async with open_delegated_nginx(settings, mode) as delegated:
                yield delegated
        else:
            async with opened(request.param) as own:
                yield own


async def serve(
    stage: Stage, endpoint: FakeEndpoint | None, pages: FakeEndpoint | int, **annotations: str
) -> None:
    """A route to *endpoint*, or to a Service without one, whose errors have pages."""
    port = pages if isinstance(pages, int) else pages.port
    more = [service("pages"), *slices("pages", [port])]
    ports = [] if endpoint is None else [endpoint]
    named = {name.replace("_", "-"): text for name, text in annotations.items()}
    await stage.serve(*ports, annotations={**PAGES, **named}, more=more)


async def test_an_error_gets_the_page_of_the_default_backend_and_keeps_its_status(stage: Stage) -> None:
    raw = [
        reply(b"raw", status=status, fields=["Set-Cookie: raw=1"]) for status in ("404 Not Found", "500 Oops")
    ]
    endpoint = await stage.endpoint(raw)
    pages = await stage.endpoint(reply(b"<h1>gone</h1>", fields=["Content-Type: text/html"]))
    await serve(stage, endpoint, pages)
    client = await stage.connect()

    answers = [
        await client.ask(
            get("/shop/cart?a=b", method="POST", fields=["Content-Length: 2", "Accept: text/html", *SECRETS])
            + b"hi"
        ),
        await client.ask(get("/again")),
    ]

    assert [(item.status, item.body) for item in answers] == [
        (status, b"<h1>gone</h1>") for status in (404, 500)
    ]
    assert answers[0].value("content-type") == "text/html"
    assert answers[0].value("set-cookie") is None
    asked = pages.seen[0]
    assert asked.line == b"GET /?a=b HTTP/1.1"
    assert {
        name: asked.value(name)
        for name in ("X-Code", "X-Format", "X-Original-URI", "X-Namespace", "X-Ingress-Name")
    } == {
        "X-Code": "404",
        "X-Format": "text/html",
        "X-Original-URI": "/shop/cart?a=b",
        "X-Namespace": "default",
        "X-Ingress-Name": "web",
    }
    assert (asked.value("X-Service-Name"), asked.value("X-Service-Port")) == ("web", "80")
    assert asked.value("X-Request-ID") == endpoint.seen[0].value("X-Request-ID")
    assert (asked.value("Cookie"), asked.value("Authorization"), asked.body) == (None, None, b"")


async def test_other_statuses_pass_as_they_are(stage: Stage) -> None:
    endpoint = await stage.endpoint([reply(b"ok"), reply(b"mine", status="403 Forbidden")])
    pages = await stage.endpoint()
    await serve(stage, endpoint, pages)
    client = await stage.connect()

    assert [(await client.ask(get())).body for _ in range(2)] == [b"ok", b"mine"]
    assert pages.seen == []


async def test_a_challenge_stays_beside_its_page(stage: Stage) -> None:
    challenge = 'WWW-Authenticate: Basic realm="shop"'
    endpoint = await stage.endpoint(reply(b"raw", status="401 Unauthorized", fields=[challenge]))
    pages = await stage.endpoint(reply(b"page"))
    await serve(stage, endpoint, pages)
    client = await stage.connect()

    answer = await client.ask(get())

    assert (answer.status, answer.body) == (401, b"page")
    assert answer.value("www-authenticate") == 'Basic realm="shop"'


async def test_what_the_proxy_refuses_has_no_page(stage: Stage) -> None:
    endpoint, pages = await stage.endpoint(), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        pages,
        error_pages="403, 413",
        allow_sources="192.0.2.0/24",
    )
    client = await stage.connect()

    assert (await client.ask(get())).status == 403
    assert (endpoint.seen, pages.seen) == ([], [])


async def test_an_endpoint_that_cannot_be_reached_gets_a_page(stage: Stage) -> None:
    pages = await stage.endpoint(reply(b"page"))
    closed = await stage.closed_port()
    await stage.serve(
        closed,
        annotations={**PAGES, "error-pages": "502"},
        more=[service("pages"), *slices("pages", [pages.port])],
    )
    client = await stage.connect()

    answer = await client.ask(get())

    assert (answer.status, answer.body) == (502, b"page")
    assert pages.seen[0].value("X-Code") == "502"


@pytest.mark.parametrize("broken", ["refuses", "fails"])
async def test_without_a_page_the_client_gets_the_error(stage: Stage, broken: str) -> None:
    endpoint = await stage.endpoint(reply(b"raw", status="404 Not Found"))
    failing = await stage.endpoint(reply(b"down", status="503 Service Unavailable"))
    await serve(stage, endpoint, await stage.closed_port() if broken == "refuses" else failing)
    client = await stage.connect()

    answers = [await client.ask(get()) for _ in range(2)]

    assert [item.status for item in answers] == [404, 404]
    assert not any(item.body in (b"raw", b"down") for item in answers)


async def test_a_page_for_head_has_no_body(stage: Stage) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n")
    pages = await stage.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    await serve(stage, endpoint, pages)
    client = await stage.connect()

    answers = [await client.ask(get(method="HEAD"), head_only=True) for _ in range(2)]

    assert [item.status for item in answers] == [404, 404]
    assert {seen.line.split(b" ")[0] for seen in pages.seen} == {b"HEAD"}


async def test_a_backend_without_endpoints_is_stood_in_for(stage: Stage) -> None:
    pages = await stage.endpoint(reply(b"later", status="503 Service Unavailable"))
    await serve(stage, None, pages)
    client = await stage.connect()

    answer = await client.ask(get("/shop?a=b", method="POST", fields=["Content-Length: 2"]) + b"hi")

    assert (answer.status, answer.body) == (503, b"later")
    assert [(seen.line, seen.body) for seen in pages.seen] == [(b"POST /shop?a=b HTTP/1.1", b"hi")]


async def test_a_service_that_does_not_exist_is_stood_in_for_too(stage: Stage) -> None:
    pages = await stage.endpoint(reply(b"later"))
    await stage.serve(
        annotations={"fallback-service": "pages:80", "traffic-split": "gone=1, web=0"},
        more=[service("pages"), *slices("pages", [pages.port])],
    )
    client = await stage.connect()

    assert (await client.ask(get())).body == b"later"


async def arrived(endpoint: FakeEndpoint, count: int = 1) -> list[Seen]:
    """The first *count* requests that *endpoint* gets, which come when they come."""
    async with asyncio.timeout(LONG):
        while len(endpoint.seen) < count:  # noqa: ASYNC110 - an endpoint has no event for it
            await asyncio.sleep(0.005)
    return endpoint.seen


@pytest.mark.parametrize("kind", ["service", "url"])
async def test_a_copy_of_a_request_is_sent_and_its_response_forgotten(stage: Stage, kind: str) -> None:
    endpoint = await stage.endpoint(reply(b"mine"))
    shadow = await stage.endpoint(reply(b"shadow", status="500 Internal Server Error"))
    target = "shadow" if kind == "service" else f"http://127.0.0.1:{shadow.port}/copies"
    await stage.serve(
        endpoint,
        annotations={"mirror-to": target, "rewrite-prefix": "/v2"},
        more=[service("shadow"), *slices("shadow", [shadow.port])],
    )
    client = await stage.connect()

    answer = await client.ask(
        get("/shop?a=b", method="POST", fields=["Content-Length: 2", "Cookie: c=d"]) + b"hi"
    )
    copy = (await arrived(shadow))[0]

    assert (answer.status, answer.body) == (200, b"mine")
    assert (copy.body, copy.value("Cookie")) == (b"hi", "c=d")
    assert copy.value("X-Request-ID") == endpoint.seen[0].value("X-Request-ID")
    if kind == "service":
        assert (copy.line, copy.value("Host")) == (b"POST /v2/shop?a=b HTTP/1.1", HOST)
    else:
        assert copy.line == b"POST /copies/shop?a=b HTTP/1.1"
        assert copy.value("Host") == f"127.0.0.1:{shadow.port}"


async def test_a_copy_without_a_body_for_another_host(stage: Stage) -> None:
    endpoint, shadow = await stage.endpoint(), await stage.endpoint()
    await stage.serve(
        endpoint,
        annotations={"mirror-to": "shadow:80", "mirror-body": "false", "mirror-host": "copies.test"},
        more=[service("shadow"), *slices("shadow", [shadow.port])],
    )
    client = await stage.connect()

    await client.ask(get(method="POST", fields=["Transfer-Encoding: chunked"]) + b"2\r\nhi\r\n0\r\n\r\n")
    copy = (await arrived(shadow))[0]

    assert (copy.value("Host"), copy.value("Content-Length"), copy.body) == ("copies.test", "0", b"")
    assert endpoint.seen[0].body == b"hi"


async def test_a_mirror_that_does_not_respond_holds_nothing_up(stage: Stage) -> None:
    async def silent(_seen: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint, shadow = await stage.endpoint(), await stage.endpoint(silent)
    await stage.serve(
        endpoint,
        annotations={"mirror-to": "shadow"},
        more=[service("shadow"), *slices("shadow", [shadow.port])],
    )
    client = await stage.connect()

    # More than may be under way at a time: the rest have no copy, and are served all the same.
    statuses = [(await client.ask(get())).status for _ in range(80)]

    assert statuses == [200] * 80
    await arrived(shadow)
    assert len(shadow.seen) <= 64


async def test_a_request_that_is_refused_and_a_large_body_have_no_copy(stage: Stage) -> None:
    endpoint, shadow = await stage.endpoint(), await stage.endpoint()
    await stage.serve(
        endpoint,
        annotations={"mirror-to": "shadow", "allow-methods": "GET, POST"},
        more=[service("shadow"), *slices("shadow", [shadow.port])],
    )
    client = await stage.connect()

    refused = await client.ask(get(method="DELETE"))
    large = await client.ask(get("/large", method="POST", fields=["Content-Length: 70000"]) + b"x" * 70000)
    small = await client.ask(get("/small"))

    assert (refused.status, large.status, small.status) == (405, 200, 200)
    assert [seen.line for seen in await arrived(shadow)] == [b"GET /small HTTP/1.1"]


TEXT = b"all work and no play " * 40
GZIP = {"compression": "gzip"}
ACCEPT = ["Accept-Encoding: br, gzip;q=0.5"]


async def test_a_response_is_compressed_for_a_client_that_accepts_it(stage: Stage) -> None:
    fields = ["Content-Type: text/plain; charset=utf-8", 'ETag: "a"', "Accept-Ranges: bytes", "Vary: Origin"]
    endpoint = await stage.endpoint(reply(TEXT, fields=fields))
    await stage.serve(endpoint, annotations=GZIP)
    client = await stage.connect()

    coded = await client.ask(get(fields=ACCEPT))
    plain = await client.ask(get())
    refusing = await client.ask(get(fields=["Accept-Encoding: gzip;q=0, *"]))

    assert gzip.decompress(coded.body) == TEXT
    assert (coded.value("content-encoding"), coded.value("etag")) == ("gzip", 'W/"a"')
    assert (coded.value("accept-ranges"), coded.value("content-length")) == (None, None)
    assert (plain.body, plain.value("etag"), refusing.body) == (TEXT, '"a"', TEXT)
    for answer in (coded, plain, refusing):
        assert ", ".join(answer.values("vary")) == "Origin, Accept-Encoding"


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        pytest.param(TEXT, "200 OK", ["Content-Type: image/png"], id="another type"),
        pytest.param(TEXT[:255], "200 OK", ["Content-Type: text/plain"], id="too short"),
        pytest.param(TEXT, "206 Partial Content", ["Content-Type: text/plain"], id="a range"),
        pytest.param(TEXT, "200 OK", ["Content-Type: text/plain", "Content-Encoding: br"], id="coded already"),
        pytest.param(
            TEXT, "200 OK", ["Content-Type: text/plain", "Cache-Control: public, no-transform"], id="forbidden"
        ),
        pytest.param(TEXT, "200 OK", ["Content-Type: text/plain", "Digest: sha-256=x"], id="a digest"),
    ],
)
async def test_other_responses_pass_as_they_are(
    stage: Stage, body: bytes, status: str, fields: list[str]
) -> None:
    endpoint = await stage.endpoint(reply(body, status=status, fields=fields))
    await stage.serve(endpoint, annotations=GZIP)
    client = await stage.connect()

    answer = await client.ask(get(fields=ACCEPT))

    assert (answer.body, answer.values("content-length")) == (body, [str(len(body))])


async def test_what_comes_in_pieces_is_sent_in_pieces(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def slow(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"5\r\nfirst\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    endpoint = await stage.endpoint(slow)
    await stage.serve(endpoint, annotations=GZIP)
    client = await stage.connect()
    await client.send(get(fields=ACCEPT))

    head = await read_head(client.reader)
    assert b"content-encoding: gzip" in head.lower()
    decoder = zlib.decompressobj(31)
    text = b""
    async with asyncio.timeout(LONG):
        while text != b"first":
            size = int(await client.reader.readuntil(b"\r\n"), 16)
            text += decoder.decompress((await client.reader.readexactly(size + 2))[:-2])
        go_on.set()
        text += decoder.decompress(await read_chunks(client.reader))
    assert text == b"firstsecond"


async def test_a_page_is_compressed_too(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(b"raw", status="404 Not Found"))
    pages = await stage.endpoint(reply(TEXT, fields=["Content-Type: text/html"]))
    await serve(stage, endpoint, pages, compression="gzip")
    client = await stage.connect()

    answer = await client.ask(get(fields=ACCEPT))

    assert (answer.status, gzip.decompress(answer.body)) == (404, TEXT)
