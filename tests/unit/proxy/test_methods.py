"""Methods are open-ended; OPTIONS asks about the server, or about what is so many proxies away."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["VERSION-CONTROL", "BAN", "PURGE", "M-SEARCH", "X_OWN"])
async def test_method_that_only_the_endpoint_knows_is_passed_on(stage: Stage, method: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    statuses = [
        (await client.ask(get("/x", method=method))).status,
        (await client.ask(get("/y", method=method, fields=["Content-Length: 4"]) + b"body")).status,
        (await client.ask(get("/z"))).status,
    ]

    assert statuses == [200] * 3
    assert [seen.line for seen in endpoint.seen[:2]] == [
        f"{method} /x HTTP/1.1".encode(),
        f"{method} /y HTTP/1.1".encode(),
    ]
    assert [seen.body for seen in endpoint.seen] == [b"", b"body", b""]


async def test_unknown_method_is_not_repeated(stage: Stage) -> None:
    async def read_and_leave(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    endpoint = await stage.endpoint(raw=read_and_leave)
    proxy = await stage.proxy(forward(endpoint.port, retries=3))
    client = await stage.connect(proxy)

    assert (await client.ask(get(method="BAN"))).status == 502
    assert endpoint.connections == 1


@pytest.mark.parametrize("target", ["*", "http://web.example"], ids=["asterisk", "absolute without a path"])
async def test_options_about_the_server_are_answered_by_the_proxy(stage: Stage, target: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    statuses = [
        (await client.ask(get(target, method="OPTIONS"))).status,
        (await client.ask(get("/", method="OPTIONS"))).status,
    ]

    assert statuses == [200, 200]
    assert [seen.line for seen in endpoint.seen] == [b"OPTIONS / HTTP/1.1"]


@pytest.mark.parametrize(
    ("method", "sent", "received"),
    [("OPTIONS", "3", "2"), ("OPTIONS", "1", "0"), ("OPTIONS", "0", None), ("GET", "0", "0")],
    ids=["counted down", "the last hop", "none left", "another method"],
)
async def test_hops_of_options_are_counted_down(
    stage: Stage, method: str, sent: str, received: str | None
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    # Twice, and between the two with another method: heads that are alike are remembered.
    for one in (method, "GET", method):
        assert (await client.ask(get(method=one, fields=[f"Max-Forwards: {sent}"]))).status == 200

    passed_on = [seen.value("max-forwards") for seen in endpoint.seen if seen.line.startswith(method.encode())]
    assert set(passed_on) == ({received} if received is not None else set())
