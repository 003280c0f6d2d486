"""Whatever the proxy, with its delegate: what becomes of a connection to an endpoint after a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.stage import Stage
from tests.dataplane.test_rewrites import serve
from tests.unit.proxy.conftest import get

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
