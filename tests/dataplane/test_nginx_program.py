"""What only nginx's program does in a way of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import TypeVar

import anyio
import pytest
from typing_extensions import override

from ingresskit.apply.nginx import NginxStatistics
from ingresskit.graph import RouteGraph, Termination
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer
from ingresskit.testing import ingress, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import opened
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, open_nginx
from tests.dataplane.stage import HOST, LONG, Stage, slices
from tests.unit.proxy.conftest import Seen, Wire, get, reply

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(NGINX_DYNAMIC.missing), reason=NGINX_DYNAMIC.missing),
]


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened("nginx-dynamic") as made:
        yield made


@pytest.fixture
async def fresh(anyio_backend: str) -> AsyncGenerator[Stage]:
    """A plane of its own: counts are read back once a second, so others' would come late."""
    async with opened("nginx-dynamic") as plane, Stage(plane) as stage:
        yield stage


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


async def test_error_of_nginx_about_an_endpoint_is_in_our_log(
    plane: Plane, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    port = await stage.closed_port()
    await stage.serve(port)
    assert (await (await stage.connect()).ask(get())).status == 502
    for _ in range(int(LONG * 10)):
        if f"127.0.0.1:{port}" in caplog.text:
            break
        await anyio.sleep(0.1)

    (message,) = [
        record.getMessage() for record in caplog.records if f"127.0.0.1:{port}" in record.getMessage()
    ]
    assert "nginx reported an error" in message
    assert "Connection refused" in message


async def test_failures_are_counted_by_their_reason(fresh: Stage) -> None:
    plane, stage = fresh.plane, fresh

    async def end(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/cut" in request.line:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        elif b"/bad" in request.line:
            writer.write(b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n")
        elif b"/silent" in request.line:
            return
        writer.close()

    before = read(plane)
    endpoint = await stage.endpoint(end)
    await stage.serve(endpoint, annotations={"retries": "0", "read-timeout": "200ms"})
    for path in ("/cut", "/bad", "/closed", "/silent"):
        client = await stage.connect()
        await client.send(get(path, fields=["Connection: close"]))
        await client.rest()
    await stage.serve(await stage.closed_port())
    assert (await (await stage.connect()).ask(get())).status == 502
    after = await read_after(plane, before, requests=5)

    expected = {
        Termination.UPSTREAM_TRUNCATED: 1,
        Termination.UPSTREAM_MALFORMED: 1,
        Termination.UPSTREAM_CLOSED: 1,
        Termination.UPSTREAM_READ_TIMEOUT: 1,
        Termination.UPSTREAM_REFUSED: 1,
    }
    assert grown(before.upstream_failures, after.upstream_failures) == expected
    assert grown(before.terminations, after.terminations) == expected
    assert grown(before.statuses, after.statuses) == {200: 1, 502: 3, 504: 1}


async def test_failure_before_a_success_is_one_of_the_attempts_only(fresh: Stage) -> None:
    plane, stage = fresh.plane, fresh
    before = read(plane)
    await stage.serve(await stage.closed_port(), await stage.endpoint(reply()))
    client = await stage.connect()
    for _ in range(2):
        assert (await client.ask(get())).status == 200
    after = await read_after(plane, before, requests=2)

    assert grown(before.upstream_failures, after.upstream_failures) == {Termination.UPSTREAM_REFUSED: 1}
    assert grown(before.terminations, after.terminations) == {}
    assert grown(before.statuses, after.statuses) == {200: 2}


def counted(plane: Plane) -> int:
    return read(plane).requests_by_class.get(2, 0)


def read(plane: Plane) -> NginxStatistics:
    statistics = plane.statistics()
    assert isinstance(statistics, NginxStatistics)
    return statistics


async def read_after(plane: Plane, before: NginxStatistics, *, requests: int) -> NginxStatistics:
    """The counts once these have the *requests* since *before*."""
    for _ in range(int(LONG * 10)):
        if sum(read(plane).statuses.values()) >= sum(before.statuses.values()) + requests:
            break
        await anyio.sleep(0.1)
    return read(plane)


Key = TypeVar("Key")


def grown(before: Mapping[Key, int], after: Mapping[Key, int]) -> dict[Key, int]:
    """What was counted between two readings."""
    return {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}


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


async def test_workers_tell_each_other_which_backend_sends_interim_responses(stage: Stage) -> None:
    """Only the first final head passes as the endpoint wrote it, whichever worker gets the next request."""

    async def respond(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    endpoint = await stage.endpoint(respond)
    await stage.serve_objects(
        ingress("hints", {HOST: {"/": "hints"}}, annotations={"response-headers-set": "X-New: yes"}),
        service("hints"),
        *slices("hints", [endpoint.port]),
    )

    async def ask(client: Wire) -> bytes:
        await client.send(get(fields=["Connection: close"]))
        return await client.rest()

    first = await ask(await stage.connect())
    await asyncio.sleep(1.5)  # three times as long as workers take to learn it, which they report to nobody
    clients = [await stage.connect() for _ in range(24)]
    others = await asyncio.gather(*(ask(client) for client in clients))

    assert b"X-New: yes" not in first
    assert [b"X-New: yes" in other for other in others] == [True] * 24


async def test_response_without_content_has_no_length(stage: Stage) -> None:
    endpoint = await stage.endpoint(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get())

    assert answer.status == 204
    assert not answer.values("content-length")


class _LaterRenderer(NginxRenderer):
    """As of a later version, whose rows ask for a guard that this program does not know."""

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        artifact = super().render(graph)
        assert artifact.tables is not None
        hosts = {name: row.replace(b'"access"', b'"later"') for name, row in artifact.tables.hosts.items()}
        return replace(artifact, tables=replace(artifact.tables, hosts=hosts))


async def test_guard_that_the_program_does_not_know_closes_its_path_only(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with (
            open_nginx(settings, Mode.DYNAMIC, _LaterRenderer) as plane,
            Stage(plane) as stage,
        ):
            endpoint = await stage.endpoint()
            guarded = {"allow-sources": "127.0.0.0/8"}
            await stage.serve_objects(
                ingress("web", {HOST: {"/": "web"}}),
                ingress("guarded", {HOST: {"/guarded": "web"}}, annotations=guarded),
                service("web"),
                *slices("web", [endpoint.port]),
            )
            client = await stage.connect()
            statuses = [(await client.ask(get(path))).status for path in ("/", "/guarded", "/")]
            for _ in range(int(LONG * 10)):
                if "names later" in caplog.text:
                    break
                await anyio.sleep(0.1)

    assert statuses == [200, 503, 200]
    assert "names later" in caplog.text


async def test_proxy_that_sends_the_scheme_is_not_suspected_of_loops(anyio_backend: str) -> None:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder, trusted_proxies=(ip_network("127.0.0.0/8"),))
        async with open_nginx(settings, Mode.DYNAMIC) as plane, Stage(plane) as stage:
            await stage.serve(await stage.endpoint(), annotations={"tls-redirect": "true"})
            client = await stage.connect()

            def suspected() -> bool:
                files = [item for item in (folder / "process").iterdir() if item.is_file()]
                return any(b"may loop" in item.read_bytes() for item in files)

            told = await client.ask(get(fields=["X-Forwarded-Proto: http"]))
            before = suspected()
            silent = await client.ask(get())
            after = suspected()

    assert (told.status, before) == (308, False)
    assert (silent.status, after) == (308, True)
