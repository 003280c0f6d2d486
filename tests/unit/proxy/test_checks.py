"""Checks of endpoints: what counts as a success, how many there are, and when they end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Coroutine
from datetime import timedelta
from pathlib import Path

import pytest

from ingresskit.graph import Protocol
from ingresskit.policies import HealthCheck, PassiveHealth
from ingresskit.proxy.endpoints import EndpointState, EndpointUse
from ingresskit.proxy.upstreams import checks
from ingresskit.proxy.upstreams.checks import Checks
from ingresskit.testing.certificates import make_certificate
from ingresskit.traffic import EndpointHealth
from tests.unit.proxy.conftest import Stage, reply, until

pytestmark = pytest.mark.anyio


class Running:
    """Checks whose tasks end with the test."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.refused = False
        self.checks = Checks(self._start, self._fault, lambda: 0.0)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def _fault(self, _address: str) -> str | None:
        return "is not allowed" if self.refused else None


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Running]:
    monkeypatch.setattr("random.random", lambda: 0.0)  # the first check is at once
    made = Running()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


def checked(
    port: int,
    *,
    path: str = "/health",
    protocol: Protocol = Protocol.HTTP,
    statuses: tuple[tuple[int, int], ...] = ((200, 399),),
    passive: PassiveHealth | None = None,
    interval: float = 0.01,
) -> EndpointState:
    policy = HealthCheck(
        path=path,
        interval=timedelta(seconds=interval),
        timeout=timedelta(seconds=5),
        failures=1,
        successes=1,
        statuses=statuses,
    )
    return EndpointState("127.0.0.1", port, protocol, EndpointUse(check=policy, passive=passive))


async def ran(endpoint: EndpointState, times: int = 1) -> None:
    """Wait for that many checks more."""
    check = endpoint.check
    assert check is not None
    wanted = check.checks + times
    await until(lambda: check.checks >= wanted)


@pytest.mark.parametrize(
    ("response", "statuses", "state"),
    [
        pytest.param(reply(), ((200, 399),), EndpointHealth.WELL, id="an expected status"),
        pytest.param(reply(status="503 No"), ((200, 399),), EndpointHealth.UNHEALTHY, id="another one"),
        pytest.param(
            reply(status="401 Who"), ((200, 299), (401, 401)), EndpointHealth.WELL, id="one of several"
        ),
        pytest.param(b"hello\r\n\r\n", ((200, 399),), EndpointHealth.UNHEALTHY, id="no response of HTTP"),
        pytest.param(b"HTTP/1.1 200", ((200, 399),), EndpointHealth.UNHEALTHY, id="a response without an end"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", ((1, 599),), EndpointHealth.UNHEALTHY, id="no status"),
        pytest.param(b"x" * 20_000, ((200, 399),), EndpointHealth.UNHEALTHY, id="a line without an end"),
    ],
)
async def test_status_line_decides(
    stage: Stage,
    running: Running,
    response: bytes,
    statuses: tuple[tuple[int, int], ...],
    state: EndpointHealth,
) -> None:
    async def respond(_request: object, _reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        writer.close()

    fake = await stage.endpoint(respond)
    endpoint = checked(fake.port, statuses=statuses)
    running.checks.watch([endpoint])

    await ran(endpoint)

    assert endpoint.state is state
    assert fake.seen[0].line == b"GET /health HTTP/1.1"
    assert fake.seen[0].value("host") == f"127.0.0.1:{fake.port}"


async def test_connection_alone_is_enough_where_no_path_is_asked_for(stage: Stage, running: Running) -> None:
    silent = await stage.endpoint()
    quiet = [checked(silent.port, path=""), checked(silent.port, protocol=Protocol.H2C)]
    gone = checked(await stage.closed_port(), path="")
    running.checks.watch([*quiet, gone])

    for endpoint in (*quiet, gone):
        await ran(endpoint)

    assert [endpoint.state for endpoint in quiet] == [EndpointHealth.WELL] * 2
    assert gone.state is EndpointHealth.UNHEALTHY
    assert silent.seen == []


async def test_endpoint_that_speaks_tls_is_asked_in_tls(stage: Stage, running: Running, tmp_path: Path) -> None:
    made = make_certificate("pod.example")
    pem = tmp_path / "pod.pem"
    pem.write_bytes(made.chain + made.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    fake = await stage.endpoint(tls=context)
    plain = await stage.endpoint()
    well = [checked(fake.port, protocol=Protocol.HTTPS), checked(fake.port, path="", protocol=Protocol.HTTPS)]
    sick = checked(plain.port, path="", protocol=Protocol.HTTPS)
    running.checks.watch([*well, sick])

    for endpoint in (*well, sick):
        await ran(endpoint)

    assert [endpoint.state for endpoint in well] == [EndpointHealth.WELL] * 2
    assert sick.state is EndpointHealth.UNHEALTHY
    assert {seen.line for seen in fake.seen} == {b"GET /health HTTP/1.1"}


async def test_address_that_is_not_allowed_is_not_asked(stage: Stage, running: Running) -> None:
    fake = await stage.endpoint()
    endpoint = checked(fake.port)
    running.refused = True
    running.checks.watch([endpoint])

    await ran(endpoint)

    assert endpoint.state is EndpointHealth.UNHEALTHY
    assert fake.connections == 0


async def test_success_ends_an_ejection_and_begins_anew(stage: Stage, running: Running) -> None:
    fake = await stage.endpoint(reply(status="503 No"))
    endpoint = checked(fake.port, passive=PassiveHealth(failures=1))
    health = endpoint.health
    assert health is not None
    endpoint.ejected(health.eject(0.0))
    running.checks.watch([endpoint])

    await ran(endpoint)
    both = endpoint.state
    fake.answer = reply()
    await ran(endpoint, 2)

    assert both is EndpointHealth.UNHEALTHY
    assert endpoint.state is EndpointHealth.WELL
    assert endpoint.retry_at == 0.0
    assert endpoint.since == 0.0


async def test_endpoint_that_is_gone_is_checked_no_longer(stage: Stage, running: Running) -> None:
    fake = await stage.endpoint()
    gone, kept = checked(fake.port), checked(fake.port, path="/kept")
    running.checks.watch([gone, kept])
    await ran(gone)

    running.checks.watch([kept])
    await until(lambda: running.tasks[0].cancelled())
    await ran(kept)

    assert len(running.tasks) == 2


async def test_no_more_endpoints_are_checked_than_there_is_room_for(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checks, "MOST_CHECKED", 2)
    endpoints = [checked(port, interval=3600) for port in range(1, 6)]
    running.checks.watch(endpoints)
    running.checks.watch(endpoints)

    assert len(running.tasks) == 2
    assert caplog.text.count("some endpoints are not checked checked=2 leftOut=3") == 1
