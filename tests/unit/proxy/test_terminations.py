"""Each way in which a request can fail has its reason in the record, in the counts, and once in the log."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from ingresskit.graph import Protocol, Termination
from ingresskit.policies import Algorithm, LoadBalancing, PolicySet
from ingresskit.proxy import AccessRecord
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.balance import BackendState
from tests.unit.proxy.conftest import (
    Handler,
    Seen,
    Stage,
    forward,
    get,
    make_backend,
    reply,
    until,
)

pytestmark = pytest.mark.anyio


async def leave(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def break_off(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
    writer.close()


async def stop_half_way(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
    await reader.read()


TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
WRONG_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "termination", "detail", "upstream_status"),
    [
        pytest.param(leave, 502, Termination.UPSTREAM_CLOSED, "", None, id="closed before a response"),
        pytest.param(say_nothing, 504, Termination.UPSTREAM_READ_TIMEOUT, "", None, id="silence"),
        pytest.param(break_off, 200, Termination.UPSTREAM_TRUNCATED, "", 200, id="closed within a response"),
        pytest.param(
            stop_half_way, 200, Termination.UPSTREAM_READ_TIMEOUT, "", 200, id="silence within a response"
        ),
        pytest.param(
            TWO_LENGTHS,
            502,
            Termination.UPSTREAM_MALFORMED,
            "wrong or second Content-Length",
            None,
            id="two lengths",
        ),
        pytest.param(
            WRONG_CHUNK,
            502,
            Termination.UPSTREAM_MALFORMED,
            "the body has a wrong chunk size",
            None,
            id="wrong chunk",
        ),
        pytest.param(reply(), 200, None, "", 200, id="a whole response"),
        pytest.param(reply(status="503 No"), 503, None, "", 503, id="a whole response of an error"),
    ],
)
async def test_record_has_the_reason_of_an_endpoints_failure(
    stage: Stage,
    answer: bytes | Handler,
    status: int,
    termination: Termination | None,
    detail: str,
    upstream_status: int | None,
) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(answer)
    proxy = await stage.proxy(forward(endpoint.port, retries=0, read_timeout=0.2), access_log=records.append)
    client = await stage.connect(proxy)

    await client.send(get())
    await until(lambda: len(records) == 1)

    [record] = records
    assert (record.status, record.termination, record.detail) == (status, termination, detail)
    assert record.upstream_status == upstream_status
    assert (record.first_byte_time is None) == (upstream_status is None)
    assert record.connect_time is not None
    statistics = proxy.statistics()
    failed = {} if termination is None else {termination: 1}
    assert (statistics.terminations, statistics.upstream_failures) == (failed, failed)
    assert statistics.statuses == {status: 1}
    counts = statistics.endpoints[f"127.0.0.1:{endpoint.port}"]
    assert (counts.requests, counts.failures, counts.active) == (1, len(failed), 0)


async def test_record_has_the_reason_of_a_connection_that_is_refused(stage: Stage) -> None:
    records: list[AccessRecord] = []
    ports = [await stage.closed_port(), await stage.closed_port()]
    proxy = await stage.proxy(forward(*ports), access_log=records.append)
    client = await stage.connect(proxy)

    await client.ask(get())

    [record] = records
    assert (record.status, record.termination) == (502, Termination.UPSTREAM_REFUSED)
    assert record.detail == "connection refused"
    assert {record.endpoint, *record.tried} == {f"127.0.0.1:{port}" for port in ports}
    assert (record.attempts, len(record.tried)) == (2, 1)
    assert proxy.statistics().upstream_failures == {Termination.UPSTREAM_REFUSED: 2}


async def test_record_has_the_reason_of_a_failed_handshake(stage: Stage) -> None:
    records: list[AccessRecord] = []

    async def speak_plainly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no TLS\r\n")
        await writer.drain()

    endpoint = await stage.endpoint(raw=speak_plainly)
    table = forward(endpoint.port, protocol=Protocol.HTTPS, retries=0)
    proxy = await stage.proxy(table, access_log=records.append)
    client = await stage.connect(proxy)

    await client.ask(get())

    assert [(one.status, one.termination) for one in records] == [(502, Termination.UPSTREAM_TLS)]
    assert records[0].detail


@pytest.mark.parametrize(
    ("request_bytes", "status", "termination"),
    [
        pytest.param(get("/else"), 404, Termination.NO_ROUTE, id="no rule"),
        pytest.param(get("/app"), 503, Termination.NO_ENDPOINT, id="no endpoint"),
        pytest.param(b"nonsense\r\n\r\n", 400, Termination.BAD_REQUEST, id="not a request"),
        pytest.param(b"GET / HTT", 408, Termination.CLIENT_TIMEOUT, id="half a request"),
    ],
)
async def test_record_has_the_reason_of_a_local_reply(
    stage: Stage, request_bytes: bytes, status: int, termination: Termination
) -> None:
    records: list[AccessRecord] = []
    proxy = await stage.proxy(
        forward(path="/app"), access_log=records.append, header_timeout=timedelta(seconds=0.2)
    )
    client = await stage.connect(proxy)

    assert (await client.ask(request_bytes)).status == status

    assert [(one.status, one.termination) for one in records] == [(status, termination)]
    assert proxy.statistics().terminations == {termination: 1}
    assert proxy.statistics().upstream_failures == {}


async def test_record_of_a_cut_request_has_who_ended_it(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(say_nothing)
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    leaving, staying = await stage.connect(proxy), await stage.connect(proxy)
    for client in (leaving, staying):
        await client.send(get())
    await until(lambda: len(endpoint.seen) == 2)

    leaving.writer.transport.abort()
    await until(lambda: len(records) == 1)
    await proxy.close()

    assert [(one.status, one.termination) for one in records] == [
        (499, Termination.CLIENT_LEFT),
        (503, Termination.SHUTDOWN),
    ]


async def test_durations_of_failed_requests_are_those_that_clients_waited(stage: Stage) -> None:
    records: list[AccessRecord] = []

    async def leave_late(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.close()

    endpoint = await stage.endpoint(leave_late)
    proxy = await stage.proxy(forward(endpoint.port, retries=0), access_log=records.append)
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 502

    assert 0.29 < records[0].duration < 5
    assert proxy.statistics().duration_sum == records[0].duration


async def test_duration_of_a_request_whose_client_left_is_how_long_it_waited(stage: Stage) -> None:
    records: list[AccessRecord] = []
    endpoint = await stage.endpoint(say_nothing)
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    client = await stage.connect(proxy)

    await client.send(get())
    await until(lambda: len(endpoint.seen) == 1)
    await asyncio.sleep(0.3)
    client.writer.transport.abort()
    await until(lambda: len(records) == 1)

    assert 0.29 < records[0].duration < 5


def told(caplog: pytest.LogCaptureFixture, message: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith(message)]


async def test_warning_names_endpoint_reason_and_request_and_is_not_repeated(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    failing = True

    async def serve(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(TWO_LENGTHS if failing else reply())

    endpoint = await stage.endpoint(serve)
    proxy = await stage.proxy(forward(endpoint.port, retries=0, path="/app"))
    client = await stage.connect(proxy)

    for _ in range(5):
        await client.ask(get("/app", fields=["X-Request-ID: r-1"]))
    failing = False
    for _ in range(3):
        assert (await client.ask(get("/app"))).status == 200

    [warning] = told(caplog, "endpoint failed")
    [recovery] = told(caplog, "endpoint works again")
    facts = vars(warning)
    assert warning.levelno == logging.WARNING
    assert facts["endpoint"] == f"127.0.0.1:{endpoint.port}"
    assert (facts["reason"], facts["detail"]) == ("upstream_malformed", "wrong or second Content-Length")
    assert (facts["host"], facts["route"], facts["requestId"]) == ("web.example", "*/app", "r-1")
    assert facts["object"] == "Ingress shop/web"
    assert recovery.levelno == logging.INFO
    assert vars(recovery)["failures"] == 5


async def test_endpoint_that_takes_connections_again_is_told(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = await stage.closed_port()
    proxy = await stage.proxy(forward(port, retries=0))
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 502
    server = await asyncio.start_server(answer_once, "127.0.0.1", port)
    async with server:
        assert (await client.ask(get())).status == 200

    assert [vars(one)["reason"] for one in told(caplog, "endpoint failed")] == ["upstream_refused"]
    assert len(told(caplog, "endpoint works again")) == 1


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(reply(fields=["Connection: close"]))
    writer.close()


@pytest.mark.parametrize("algorithm", [Algorithm.ROUND_ROBIN, Algorithm.LEAST_CONNECTIONS])
def test_one_request_probes_an_endpoint_whose_back_off_is_over(algorithm: Algorithm) -> None:
    held = PolicySet([LoadBalancing(algorithm=algorithm)])
    backend = replace(make_backend(1, 2), policies=held)
    failed, well = [EndpointState(one.address, one.port, Protocol.HTTP) for one in backend.endpoints]
    state = BackendState(backend, [failed, well])
    failed.failed(100.0)
    after = failed.retry_at + 0.1

    within = [state.choose("", (), 100.1) for _ in range(10)]
    probing = [state.choose("", (), after) for _ in range(10)]
    failed.worked()
    later = [state.choose("", (), after) for _ in range(10)]

    assert failed not in within
    assert probing.count(failed) == 1
    assert failed in later
