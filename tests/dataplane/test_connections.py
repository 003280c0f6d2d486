"""Whatever the proxy, with its delegate: what becomes of a connection to an endpoint after a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.stage import Stage
from tests.dataplane.test_rewrites import serve
from tests.unit.proxy.conftest import get, reply

pytestmark = pytest.mark.anyio

UPGRADE = ["Connection: Upgrade", "Upgrade: chat"]


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened_with_delegate(request.param) as made:
        yield made


@pytest.mark.parametrize("name", ["upstream-connection", "nginx:connection-proxy-header"])
async def test_each_request_gets_a_connection_of_its_own(stage: Stage, name: str) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint, ["/"], {name: "close"})
    client = await stage.connect()

    for _ in range(2):
        assert (await client.ask(get(fields=UPGRADE))).status == 200

    assert [seen.values("connection") for seen in endpoint.seen] == [["close"]] * 2
    assert [seen.value("upgrade") for seen in endpoint.seen] == [None] * 2


@pytest.mark.parametrize("name", ["upstream-connection", "nginx:connection-proxy-header"])
async def test_connections_that_are_kept_carry_no_upgrade(stage: Stage, name: str) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint, ["/"], {name: "keep-alive"})
    client = await stage.connect()

    assert (await client.ask(get(fields=UPGRADE))).status == 200

    (seen,) = endpoint.seen
    assert (seen.value("upgrade"), seen.value("connection") in (None, "keep-alive")) == (None, True)


@pytest.mark.parametrize("name", ["upstream-http-version", "nginx:proxy-http-version"])
async def test_endpoints_are_spoken_to_in_the_older_version(stage: Stage, name: str) -> None:
    endpoint = await stage.endpoint(reply(version="HTTP/1.0"))
    await serve(stage, endpoint, ["/"], {name: "1.0"})
    client = await stage.connect()

    sized = await client.ask(get("/x", method="POST", fields=["Content-Length: 2", *UPGRADE]) + b"hi")
    chunks = get("/x", method="POST", fields=["Transfer-Encoding: chunked"]) + b"2\r\nhi\r\n0\r\n\r\n"
    chunked = await client.ask(chunks)

    # nginx gathers a body before it sends it, and knows its length then.
    assert (sized.status, chunked.status in (200, 411)) == (200, True)
    for seen in endpoint.seen:
        assert (seen.line, seen.body) == (b"POST /x HTTP/1.0", b"hi")
        assert (seen.value("upgrade"), seen.value("transfer-encoding")) == (None, None)
