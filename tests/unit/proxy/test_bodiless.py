"""The framing of responses without a body: what the endpoint said, and nothing that it did not say."""

from __future__ import annotations

import pytest

from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("response", "method"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", "HEAD"), (b"HTTP/1.1 304 Not Modified\r\n\r\n", "GET")],
    ids=["HEAD", "304"],
)
async def test_a_response_without_length_and_coding_gets_neither(
    stage: Stage, response: bytes, method: str
) -> None:
    endpoint = await stage.endpoint(response)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    heard = await client.ask(get(method=method), head_only=True)

    assert heard.value("transfer-encoding") is None
    assert heard.value("content-length") is None
