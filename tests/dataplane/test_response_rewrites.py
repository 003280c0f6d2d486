"""Whatever the proxy, with its delegate: cookies and redirects of endpoints are made right for clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.stage import HOST, Stage
from tests.dataplane.test_rewrites import serve
from tests.dataplane.test_wire_edges import final
from tests.unit.proxy.conftest import get, reply

pytestmark = pytest.mark.anyio

COOKIES = [
    "a=1; Domain=inner.test; Path=/app/x; Secure",
    "b=2; path=/app/; expires=Thu, 01 Jan 2099 00:00:00 GMT",
]


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


@pytest.mark.parametrize(
    ("annotations", "path"),
    [
        pytest.param(
            {"cookie-domain": f".inner.test {HOST}", "cookie-path": "/other /no\n/app/ /shop/"},
            "/shop/x",
            id="native",
        ),
        pytest.param(
            {"nginx:proxy-cookie-domain": f"inner.test {HOST}", "nginx:proxy-cookie-path": "/app/ /shop/"},
            "/shop/x",
            id="ingress-nginx",
        ),
        pytest.param(
            {"nginx:proxy-cookie-domain": f"~inner {HOST}", "nginx:proxy-cookie-path": "~/app/ /shop/"},
            "/shop/",
            id="patterns",
        ),
    ],
)
async def test_domains_and_paths_of_cookies_are_replaced(
    stage: Stage, annotations: dict[str, str], path: str
) -> None:
    endpoint = await stage.endpoint(reply(fields=[f"Set-Cookie: {one}" for one in COOKIES]))
    await serve(stage, endpoint, ["/"], {"response-headers-set": "X-Also: 1", **annotations})

    answer = await (await stage.connect()).ask(get())

    assert [spaced(value) for value in answer.values("set-cookie")] == [
        f"a=1; Domain={HOST}; Path={path}; Secure",
        "b=2; path=/shop/; expires=Thu, 01 Jan 2099 00:00:00 GMT",
    ]
    assert answer.value("x-also") == "1"


@pytest.mark.parametrize(
    ("annotations", "location", "sent"),
    [
        pytest.param(
            {"location-rewrite": "http://inner.test:8080/ /shop/"},
            "http://inner.test:8080/x?a=$1",
            "/shop/x?a=$1",
            id="native",
        ),
        pytest.param(
            {"location-rewrite": "http://inner.test/ $scheme://$host/"},
            "http://inner.test/x",
            f"http://{HOST}/x",
            id="the client's scheme and host",
        ),
        pytest.param(
            {"location-rewrite": "http://inner.test/ /shop/"},
            "https://inner.test/x",
            "https://inner.test/x",
            id="another beginning",
        ),
        pytest.param(
            {
                "nginx:proxy-redirect-from": "http://inner.test/",
                "nginx:proxy-redirect-to": "http://$http_host/",
            },
            "http://inner.test/x",
            f"http://{HOST}/x",
            id="ingress-nginx",
        ),
        pytest.param(
            {
                "nginx:proxy-redirect-from": "~*^http://inner.test(:[0-9]+)?/(.*)",
                "nginx:proxy-redirect-to": "/shop/$2",
            },
            "HTTP://inner.test:8080/x",
            f"http://{HOST}/shop/x",
            id="a pattern",
        ),
        pytest.param(
            {"nginx:proxy-redirect-from": "default"},
            "http://upstream_balancer/x",
            f"http://{HOST}/x",
            id="the default of nginx",
        ),
        pytest.param(
            {"nginx:proxy-redirect-from": "/app/", "nginx:proxy-redirect-to": "/shop/"},
            "/app/x",
            f"http://{HOST}/shop/x",
            id="a path becomes absolute",
        ),
        pytest.param(
            {
                "nginx:proxy-redirect-from": "/app/",
                "nginx:proxy-redirect-to": "/shop/",
                "nginx:relative-redirects": "true",
            },
            "/app/x",
            "/shop/x",
            id="a path stays one",
        ),
        pytest.param(
            {"nginx:proxy-redirect-from": "off"}, "http://inner.test/x", "http://inner.test/x", id="off"
        ),
    ],
)
async def test_redirects_of_endpoints_are_changed(
    stage: Stage, annotations: dict[str, str], location: str, sent: str
) -> None:
    endpoint = await stage.endpoint(
        reply(status="302 Found", fields=[f"Location: {location}", f"Refresh: 3; url={location}"])
    )
    await serve(stage, endpoint, ["/"], annotations)

    answer = await (await stage.connect()).ask(get())

    assert (answer.status, answer.values("location")) == (302, [sent])
    # Only locations are made absolute.
    bare = sent.removeprefix(f"http://{HOST}") if "nginx:proxy-redirect-from" in annotations else sent
    assert answer.values("refresh") in ([f"3; url={sent}"], [f"3; url={bare}"])


async def test_a_redirect_that_the_route_sets_itself_stays(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["Location: /app/x"]))
    annotations = {"location-rewrite": "/app/ /shop/", "response-headers-set": "Location: /app/own"}
    await serve(stage, endpoint, ["/"], annotations)

    assert (await (await stage.connect()).ask(get())).values("location") == ["/app/own"]


def spaced(cookie: str) -> str:
    return "; ".join(part.strip() for part in cookie.split(";"))


async def test_cookies_behind_an_interim_response_stay_apart(stage: Stage) -> None:
    fields = [f"Set-Cookie: {one}" for one in COOKIES]
    endpoint = await stage.endpoint(b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(fields=fields))
    await serve(stage, endpoint, ["/"], {"cookie-path": "/app/ /shop/"})

    answers = [await final(await stage.connect(), get()) for _ in range(8)]

    found = [[spaced(value) for value in answer.values("set-cookie")] for answer in answers]
    assert {len(cookies) for cookies in found} == {2}
    if stage.plane.name == "nginx-static":
        return  # what follows an interim response passes as it is
    # A worker of nginx edits the second response of a backend that sends them, and there are two.
    edited = [cookies for cookies in found if "Path=/shop/x" in cookies[0]]
    assert len(edited) >= (6 if stage.plane.name == "nginx-dynamic" else 8)
    assert {cookies[1] for cookies in edited} == {"b=2; path=/shop/; expires=Thu, 01 Jan 2099 00:00:00 GMT"}
