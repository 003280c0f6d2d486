"""Pages of errors and stand-ins for a backend, on every plane; on a program with its delegate."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.render.nginx import Mode
from ingresskit.testing import service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import Stage, slices
from tests.unit.proxy.conftest import FakeEndpoint, get, reply

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
    endpoint = await stage.endpoint(reply(b"raw", status="404 Not Found", fields=["Set-Cookie: raw=1"]))
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

    assert [(item.status, item.body) for item in answers] == [(404, b"<h1>gone</h1>")] * 2
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
