"""How many requests a client may send, on every plane; where the program cannot, by its delegate."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from ingresskit.models import Snapshot
from ingresskit.policies import IngressNginxDialect, PolicyRegistry
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, TRUSTED, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import LONG, FakeEndpoint, Seen, Wire, get, reply, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param != HAPROXY.name:
        async with opened(request.param, trusted_proxies=TRUSTED) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder, trusted_proxies=TRUSTED)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


async def statuses(client: Wire, count: int, *fields: str, path: str = "/") -> list[int]:
    """Of so many requests, one after the other."""
    return [(await client.ask(get(path, fields=fields))).status for _ in range(count)]


async def until_served(client: Wire, *fields: str) -> None:
    """Ask until a place is free."""
    async with asyncio.timeout(LONG):
        while await statuses(client, 1, *fields) != [200]:
            pass


def by(address: str) -> str:
    """The field by which the trusted proxy, which every client here is, names its client."""
    return f"X-Forwarded-For: {address}"


async def serve_nginx(stage: Stage, endpoint: FakeEndpoint, name: str, **annotations: str) -> None:
    named = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    snapshot = Snapshot.of(
        [
            ingress_class(),
            ingress(name, {HOST: {"/": "web"}}, annotations=named),
            service("web"),
            *slices("web", [endpoint.port]),
        ]
    )
    options = TranslateOptions(
        destinations=OPTIONS.destinations, policies=PolicyRegistry([IngressNginxDialect()])
    )
    await stage.plane.serve(translate(snapshot, options).graph)


# One token leaks in a minute, and tests end before: what they see depends on no clock.


async def test_requests_beyond_the_burst_are_refused_for_each_client(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"rate-limit": "1/m", "rate-limit-burst": "2"})
    client = await stage.connect()

    assert await statuses(client, 5, by("192.0.2.1")) == [200, 200, 200, 429, 429]
    assert await statuses(client, 1, by("192.0.2.2")) == [200]
    assert len(endpoint.seen) == 4


async def test_a_network_of_ipv6_is_one_client(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"rate-limit": "1/m", "rate-limit-burst": "1"})
    client = await stage.connect()

    found = [await statuses(client, 1, by(f"2001:db8:0:1::{number}")) for number in (1, 2, 3)]

    assert found == [[200], [200], [429]]
    assert await statuses(client, 1, by("2001:db8:0:2::1")) == [200]


async def test_clients_that_are_exempt_are_not_counted(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {
        "rate-limit": "1/m",
        "rate-limit-burst": "0",
        "rate-limit-exempt": "192.0.2.0/24,2001:db8::/32",
    }
    await stage.serve(endpoint, annotations=annotations)
    client = await stage.connect()

    assert await statuses(client, 3, by("192.0.2.3")) == [200] * 3
    assert await statuses(client, 3, by("2001:db8::3")) == [200] * 3
    assert await statuses(client, 2, by("198.51.100.3")) == [200, 429]


async def test_a_header_and_a_cookie_tell_clients_apart(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    limit = {"rate-limit": "1/m", "rate-limit-burst": "0", "rate-limit-status": "420"}
    await stage.serve(endpoint, annotations={**limit, "rate-limit-key": "header:X-Api-Key"})
    client = await stage.connect()

    assert await statuses(client, 2, "X-Api-Key: a", by("192.0.2.4")) == [200, 420]
    assert await statuses(client, 1, "X-Api-Key: b", by("192.0.2.4")) == [200]
    # Without the header, the address counts.
    assert await statuses(client, 2, by("192.0.2.4")) == [200, 420]

    await stage.serve(endpoint, annotations={**limit, "rate-limit-key": "cookie:sid"})

    assert await statuses(client, 2, "Cookie: x=1; sid=a", by("192.0.2.5")) == [200, 420]
    assert await statuses(client, 1, "Cookie: sid=b; x=1", by("192.0.2.5")) == [200]


async def test_a_request_has_to_fit_into_both_rates(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"rate-limit": "1000/s, 1/m", "rate-limit-burst": "1"})
    client = await stage.connect()

    assert await statuses(client, 4, by("192.0.2.6")) == [200, 200, 429, 429]


async def test_objects_that_ask_for_the_same_count_apart_and_paths_of_one_together(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    limit = {"rate-limit": "1/m", "rate-limit-burst": "1", "tls-redirect": "false"}
    await stage.serve_objects(
        ingress("one", {HOST: {"/a": "web", "/b": "web"}}, annotations=limit),
        ingress("two", {HOST: {"/c": "web"}}, annotations=limit),
        service("web"),
        *slices("web", [endpoint.port]),
    )
    client = await stage.connect()

    found = [await statuses(client, 1, by("192.0.2.7"), path=path) for path in ("/a", "/b", "/a", "/c")]

    assert found == [[200], [200], [429], [200]]


async def test_a_client_that_is_kept_out_uses_nothing_up(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    limit = {"rate-limit": "1/m", "rate-limit-burst": "0"}
    await stage.serve(endpoint, annotations={**limit, "deny-sources": "192.0.2.0/24"})
    client = await stage.connect()

    assert await statuses(client, 2, by("192.0.2.8")) == [403, 403]
    await stage.serve(endpoint, annotations=limit)
    assert await statuses(client, 2, by("192.0.2.8")) == [200, 429]


async def test_as_in_ingress_nginx_a_rate_is_judged_before_the_address(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    limits = {"limit_rpm": "1", "limit_burst_multiplier": "1", "limit_whitelist": "203.0.113.9/32"}
    await serve_nginx(stage, endpoint, "web", **limits, denylist_source_range="192.0.2.0/24")
    client = await stage.connect()

    assert await statuses(client, 3, by("192.0.2.9")) == [403, 403, 503]
    assert await statuses(client, 3, by("198.51.100.9")) == [200, 200, 503]
    assert await statuses(client, 3, by("203.0.113.9")) == [200] * 3


async def test_as_in_ingress_nginx_requests_at_a_time_are_refused_with_503(stage: Stage) -> None:
    go = asyncio.Event()

    async def wait(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"slow" in request.line:
            await go.wait()
        writer.write(reply())

    endpoint = await stage.endpoint(wait)
    await serve_nginx(stage, endpoint, "web", limit_connections="1", limit_whitelist="203.0.113.0/24")
    slow, client = await stage.connect(), await stage.connect()
    await slow.send(get("/slow", fields=[by("192.0.2.17")]))
    await until(lambda: len(endpoint.seen) == 1)

    assert await statuses(client, 1, by("192.0.2.17")) == [503]
    assert await statuses(client, 1, by("203.0.113.17")) == [200]
    go.set()
    assert (await slow.answer()).status == 200
    await until_served(client, by("192.0.2.17"))


async def test_requests_of_a_client_at_a_time_are_bounded(stage: Stage) -> None:
    go = asyncio.Event()

    async def wait(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"slow" in request.line:
            await go.wait()
        writer.write(reply())

    endpoint = await stage.endpoint(wait)
    await stage.serve(endpoint, annotations={"connection-limit": "2"})
    slow = [await stage.connect() for _ in range(2)]
    client = await stage.connect()
    for number, wire in enumerate(slow, 1):
        await wire.send(get("/slow", fields=[by("192.0.2.10")]))
        await until(lambda number=number: len(endpoint.seen) == number)  # type: ignore[misc]

    assert await statuses(client, 2, by("192.0.2.10")) == [429, 429]
    assert await statuses(client, 1, by("192.0.2.11")) == [200]
    go.set()
    assert [(await wire.answer()).status for wire in slow] == [200, 200]
    # Connections that are idle do not count.
    assert await statuses(client, 5, by("192.0.2.10")) == [200] * 5


async def test_a_client_that_leaves_gives_its_place_back(stage: Stage) -> None:
    async def never(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"slow" in request.line:
            await asyncio.sleep(3600)
        writer.write(reply())

    endpoint = await stage.endpoint(never)
    await stage.serve(endpoint, annotations={"connection-limit": "1", "connection-limit-status": "503"})
    slow, client = await stage.connect(), await stage.connect()
    await slow.send(get("/slow", fields=[by("192.0.2.12")]))
    await until(lambda: len(endpoint.seen) == 1)

    assert await statuses(client, 1, by("192.0.2.12")) == [503]
    await slow.close()
    await until_served(client, by("192.0.2.12"))


async def test_a_worker_that_crashes_gives_the_places_of_its_clients_back(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    if "nginx-dynamic" not in request.node.name:
        pytest.skip("only nginx in its dynamic mode has workers that count together")

    async def never(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"slow" in request.line:
            await asyncio.sleep(3600)
        writer.write(reply())

    endpoint = await stage.endpoint(never)
    await stage.serve(endpoint, annotations={"connection-limit": "2"})
    slow, client = [await stage.connect() for _ in range(2)], await stage.connect()
    for number, wire in enumerate(slow, 1):
        await wire.send(get("/slow", fields=[by("192.0.2.15")]))
        await until(lambda number=number: len(endpoint.seen) == number)  # type: ignore[misc]
    assert await statuses(client, 1, by("192.0.2.15")) == [429]
    workers = [pid for pid in stage.plane.pids() if b"nginx: worker" in command_of(pid)]

    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for wire in slow:
        assert await wire.is_closed()

    assert len(workers) == 2
    async with asyncio.timeout(LONG):
        while True:
            # Neither may stay in the way: the limit is two.
            try:
                fresh = await stage.connect()
                found = await statuses(fresh, 1, by("192.0.2.15"))
            except (OSError, asyncio.IncompleteReadError):
                continue
            if found == [200]:
                break
            await asyncio.sleep(0.05)
    held = [await stage.connect() for _ in range(2)]
    seen = len(endpoint.seen)
    for number, wire in enumerate(held, seen + 1):
        await wire.send(get("/slow", fields=[by("192.0.2.15")]))
        await until(lambda number=number: len(endpoint.seen) == number)  # type: ignore[misc]
    assert await statuses(await stage.connect(), 1, by("192.0.2.15")) == [429]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_websocket_holds_its_place_until_it_ends(stage: Stage) -> None:
    async def switch(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/ws" not in request.line:
            writer.write(reply())
            return
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        await reader.read()

    endpoint = await stage.endpoint(switch)
    await stage.serve(endpoint, annotations={"connection-limit": "1"})
    tunnel, client = await stage.connect(), await stage.connect()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", key, by("192.0.2.13"))

    assert (await tunnel.ask(get("/ws", fields=upgrade))).status == 101
    assert await statuses(client, 1, by("192.0.2.13")) == [429]
    await tunnel.close()
    await until_served(client, by("192.0.2.13"))


async def test_policies_on_trial_refuse_no_request(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    policies = {"rate-limit": "1/m", "rate-limit-burst": "0", "body-limit": "1", "deny-sources": "192.0.2.0/24"}
    await stage.serve(endpoint, annotations={**policies, "shadow": "all"})
    client = await stage.connect()

    assert await statuses(client, 3, by("192.0.2.14")) == [200] * 3
    await client.send(get(method="POST", fields=[by("192.0.2.14"), "Content-Length: 5"]) + b"hello")
    assert (await client.answer()).status == 200
    await client.send(
        get(method="POST", fields=[by("192.0.2.14"), "Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n0\r\n\r\n"
    )
    assert (await client.answer()).status == 200

    await stage.serve(endpoint, annotations={**policies, "shadow": "access"})

    assert await statuses(client, 2, by("192.0.2.15")) == [200, 429]


async def test_a_response_is_sent_no_faster_than_its_rate(stage: Stage) -> None:
    body = bytes(range(250)) * 240
    endpoint = await stage.endpoint(reply(body=body))
    await stage.serve(endpoint, annotations={"response-rate": "20000", "response-rate-after": "10000"})
    client = await stage.connect()

    began = time.monotonic()
    answers = [await client.ask(get()) for _ in range(2)]
    seconds = time.monotonic() - began

    # Of each, 10,000 come at once, as do those of the first second, or, where seconds are counted whole, two.
    assert [answer.body for answer in answers] == [body, body]
    assert seconds >= 1


async def test_a_client_may_leave_a_response_that_is_paced(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(body=b"x" * 5_000_000))
    await stage.serve(endpoint, annotations={"response-rate": "1000", "connection-limit": "1"})
    slow, client = await stage.connect(), await stage.connect()
    await slow.send(get(fields=[by("192.0.2.16")]))
    await slow.reader.readexactly(100)

    assert (await client.ask(get(method="HEAD", fields=[by("192.0.2.16")]), head_only=True)).status == 429
    await slow.close()
    async with asyncio.timeout(LONG):
        while True:
            other = await stage.connect()
            answer = await other.ask(get(method="HEAD", fields=[by("192.0.2.16")]), head_only=True)
            if answer.status == 200:
                break


async def test_a_body_is_gathered_before_the_endpoint_gets_it(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"request-buffering": "64k"})
    client = await stage.connect()
    await client.send(get(method="POST", fields=["Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n")

    # Another request is through meanwhile, and this one has not begun.
    assert await statuses(await stage.connect(), 1) == [200]
    assert len(endpoint.seen) == 1
    await client.send(b"6\r\n world\r\n0\r\n\r\n")
    assert (await client.answer()).status == 200
    assert endpoint.seen[-1].body == b"hello world"
    assert endpoint.seen[-1].value("content-length") == "11"


async def test_a_body_that_is_too_long_to_be_gathered_is_streamed(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"request-buffering": "1k", "body-limit": "1m"})
    client = await stage.connect()
    await client.send(get(method="POST", fields=["Content-Length: 100000", "Expect: 100-continue"]))
    await client.send(b"x" * 50_000)
    await client.send(b"y" * 50_000)

    assert (await client.answer()).status == 200
    assert endpoint.seen[-1].body == b"x" * 50_000 + b"y" * 50_000
