"""What only nginx's program does in a way of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest

from ingresskit.apply.nginx import NginxStatistics
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.planes import NGINX_DYNAMIC
from tests.dataplane.stage import Stage
from tests.unit.proxy.conftest import get, reply

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(NGINX_DYNAMIC.missing), reason=NGINX_DYNAMIC.missing),
]


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened("nginx-dynamic") as made:
        yield made


@pytest.mark.parametrize(
    ("asked", "connections"),
    [
        ("Authorization: NTLM TlRMTVNTUAAB", 2),
        ("AUTHORIZATION: negotiate YII=", 2),
        ("Authorization: Basic bnRsbQ==", 1),
        ("Authorization: Bearer ntlm", 1),
    ],
    ids=["NTLM", "Negotiate in another spelling", "Basic", "Bearer"],
)
async def test_connection_that_a_client_authenticates_is_nobody_elses(
    stage: Stage, asked: str, connections: int
) -> None:
    endpoint = await stage.endpoint(reply())
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get(fields=[asked]))
    await client.ask(get())

    assert endpoint.connections <= connections
    assert endpoint.seen[0].values("authorization") == [asked.partition(": ")[2]]
    assert connections == 1 or endpoint.connections == 2


async def test_counts_are_those_of_the_requests(anyio_backend: str) -> None:
    """Counted by all workers, read back once a second."""
    async with opened("nginx-dynamic") as plane, Stage(plane) as stage:
        endpoint = await stage.endpoint(reply())
        await stage.serve(endpoint)
        client = await stage.connect()
        for _ in range(5):
            await client.ask(get())
        for _ in range(60):
            if counted(plane) >= 5:
                break
            await anyio.sleep(0.1)

        assert counted(plane) == 5


def counted(plane: Plane) -> int:
    statistics = plane.statistics()
    assert isinstance(statistics, NginxStatistics)
    return statistics.requests_by_class.get(2, 0)


@pytest.mark.parametrize(
    "fields",
    [
        [f"X-Field-{number}: 1" for number in range(120)],
        [f"X-Field-{number}: {'k' * 7000}" for number in range(8)],
    ],
    ids=["120 fields", "56 KB of fields"],
)
async def test_head_beyond_its_limits_is_answered_431(stage: Stage, fields: list[str]) -> None:
    endpoint = await stage.endpoint(reply())
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=fields))

    assert answer.status == 431
    assert endpoint.seen == []
    assert await client.is_closed()


async def test_response_without_content_has_no_length(stage: Stage) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get())

    assert answer.status == 204
    assert not answer.values("content-length")
