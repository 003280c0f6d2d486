"""What a request meets first in nginx, whose phases judge the length of a body before anything else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC
from tests.dataplane.stage import HOST, Stage

pytestmark = pytest.mark.anyio

_HEAD = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n".encode()
REQUESTS = {
    "announced": _HEAD + b"Content-Length: 9\r\n\r\n123456789",
    "chunked": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
    "waiting": _HEAD + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind.name, marks=[pytest.mark.skip(reason=kind.missing)] if kind.missing else [])
        for kind in (NGINX_STATIC, NGINX_DYNAMIC)
    ],
)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


@pytest.mark.parametrize(
    ("sources", "limit", "status"),
    [
        ("192.0.2.0/24", "4", 403),
        ("192.0.2.0/24", "1k", 403),
        ("127.0.0.0/8", "4", 413),
        ("127.0.0.0/8", "9", 200),
    ],
    ids=["refused and too large", "refused", "too large", "neither"],
)
@pytest.mark.parametrize("name", REQUESTS)
async def test_address_is_judged_before_the_body_however_it_is_sent(
    stage: Stage, name: str, sources: str, limit: str, status: int
) -> None:
    await stage.serve(
        await stage.endpoint(), annotations={"allow-sources": sources, "body-limit": limit, "retries": "0"}
    )
    client = await stage.connect()
    if status == 200 and name == "waiting":
        pytest.skip("the body is waited for")

    assert (await client.ask(REQUESTS[name])).status == status


@pytest.mark.parametrize("name", REQUESTS)
async def test_redirect_to_tls_of_one_path_goes_before_the_body(stage: Stage, name: str) -> None:
    await stage.serve(await stage.endpoint(), path="/", annotations={"tls-redirect": "true", "body-limit": "4"})
    client = await stage.connect()

    assert (await client.ask(REQUESTS[name])).status == 308
