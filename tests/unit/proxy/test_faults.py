"""What endpoints do wrong costs clients as little as can be."""

from __future__ import annotations

import asyncio
import resource
from datetime import timedelta

import pytest

from ingresskit.graph import Forward, Redirect, Respond
from ingresskit.graph.nodes import WeightedBackend
from ingresskit.policies import Algorithm, BodyLimit, LoadBalancing, PrefixRewrite
from ingresskit.testing import pace
from tests.unit.proxy.conftest import (
    Seen,
    Stage,
    forward,
    get,
    make_backend,
    make_table,
    make_target,
    reply,
    until,
)

pytestmark = pytest.mark.anyio


async def test_refused_connection_moves_the_request_to_another_endpoint(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(await stage.closed_port(), endpoint.port))
    client = await stage.connect(proxy)

    answers = [await client.ask(get(method="POST", fields=["Content-Length: 2"]) + b"hi") for _ in range(6)]

    assert [answer.status for answer in answers] == [200] * 6
    assert [seen.body for seen in endpoint.seen] == [b"hi"] * 6
    # Left alone after its first failure.
    assert proxy.statistics().upstream_failed == 1
    assert proxy.statistics().retries == 1


async def test_all_connections_refused_is_a_502(stage: Stage) -> None:
    proxy = await stage.proxy(forward(await stage.closed_port(), await stage.closed_port()))
    client = await stage.connect(proxy)

    answers = [await client.ask(get()) for _ in range(2)]

    assert [answer.status for answer in answers] == [502, 502]
    backends = proxy.statistics().backends
    assert [(one.requests, one.failures, one.active) for one in backends.values()] == [(2, 4, 0)]


async def test_no_tries_left_is_a_502_at_once(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(await stage.closed_port(), endpoint.port, retries=0))
    client = await stage.connect(proxy)

    statuses = {(await client.ask(get())).status for _ in range(2)}

    assert statuses == {200, 502}
    assert proxy.statistics().retries == 0


async def test_no_endpoints_is_a_503(stage: Stage) -> None:
    proxy = await stage.proxy(forward())
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 503


async def test_unknown_host_and_path_are_a_404_and_the_connection_goes_on(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, host="web.example", path="/app"))
    client = await stage.connect(proxy)

    statuses = [
        (await client.ask(get("/app", host="other.example"))).status,
        (await client.ask(get("/apple"))).status,
        (await client.ask(get("/app/x"))).status,
        (await client.ask(get("/apple", method="HEAD"), head_only=True)).status,
        (await client.ask(get("/apple", method="POST", fields=["Content-Length: 2"]) + b"hi")).status,
        (await client.ask(get("/app"))).status,
    ]

    assert statuses == [404, 404, 200, 404, 404, 200]
    assert proxy.statistics().requests == {"": {4: 4}, "web.example": {2: 2}}


async def test_idle_connection_closed_by_its_endpoint_is_no_fault_to_clients(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get())
    endpoint.writers[0].close()
    await until(lambda: proxy.statistics().upstream_open == 0)

    assert (await client.ask(get(method="POST", fields=["Content-Length: 1"]) + b"x")).status == 200


async def test_connection_closed_at_the_moment_of_reuse_is_no_fault_to_clients(stage: Stage) -> None:
    async def once(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(endpoint.seen) == 2:
            writer.close()  # without a word, to a request that has arrived
        else:
            writer.write(reply())

    endpoint = await stage.endpoint(once)
    proxy = await stage.proxy(forward(endpoint.port, retries=0))
    client = await stage.connect(proxy)

    statuses = [(await client.ask(get())).status for _ in range(3)]

    assert statuses == [200] * 3
    assert endpoint.connections == 2
    assert [one.failures for one in proxy.statistics().backends.values()] == [0]


async def test_request_that_must_not_be_repeated_is_not(stage: Stage) -> None:
    async def once(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(endpoint.seen) == 2:
            writer.close()
        else:
            writer.write(reply())

    endpoint = await stage.endpoint(once)
    proxy = await stage.proxy(forward(endpoint.port, retries=5))
    client = await stage.connect(proxy)

    post = get(method="POST", fields=["Content-Length: 1"]) + b"x"
    statuses = [(await client.ask(post)).status for _ in range(2)]

    assert statuses == [200, 502]
    assert len(endpoint.seen) == 2


async def test_request_without_an_answer_is_repeated_elsewhere_with_its_body(stage: Stage) -> None:
    async def leave(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    bad, good = await stage.endpoint(leave), await stage.endpoint()
    proxy = await stage.proxy(forward(bad.port, good.port))
    client = await stage.connect(proxy)

    put = get(method="PUT", fields=["Transfer-Encoding: chunked"]) + b"4\r\nbody\r\n0\r\n\r\n"
    statuses = [(await client.ask(put)).status for _ in range(4)]

    assert statuses == [200] * 4
    assert [seen.body for seen in good.seen] == [b"body"] * 4
    assert bad.seen


async def test_body_too_large_to_keep_is_not_repeated(stage: Stage) -> None:
    async def leave(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    bad = await stage.endpoint(leave)
    also_bad = await stage.endpoint(leave)
    proxy = await stage.proxy(forward(bad.port, also_bad.port), buffer_bytes=1000)
    client = await stage.connect(proxy)

    answer = await client.ask(get(method="PUT", fields=["Content-Length: 5000"]) + b"x" * 5000)

    assert answer.status == 502
    assert len(bad.seen) + len(also_bad.seen) == 1


async def test_silent_endpoint_is_a_504(stage: Stage) -> None:
    async def say_nothing(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint = await stage.endpoint(say_nothing)
    proxy = await stage.proxy(forward(endpoint.port, read_timeout=0.1))
    client = await stage.connect(proxy)

    answer = await client.ask(get())

    assert answer.status == 504
    await until(lambda: proxy.statistics().upstream_open == 0)


async def test_endpoint_that_falls_silent_costs_the_client_its_connection(stage: Stage) -> None:
    async def begin(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    endpoint = await stage.endpoint(begin)
    proxy = await stage.proxy(forward(endpoint.port), read_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    await client.send(get())
    head = await client.reader.readuntil(b"hello")

    assert b" 200 " in head
    assert await client.is_closed()


async def test_client_that_leaves_ends_the_request_to_the_endpoint(stage: Stage) -> None:
    gone = asyncio.get_running_loop().create_future()

    async def wait(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        try:
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set_result(None)

    endpoint = await stage.endpoint(wait)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get())
    await client.reader.readuntil(b"x\r\n")
    client.writer.transport.abort()

    async with asyncio.timeout(pace.within(10)):
        await gone
    await until(lambda: [one.active for one in proxy.statistics().backends.values()] == [0])


async def test_client_that_is_gone_when_its_answer_ends_leaves_nothing(stage: Stage) -> None:
    """On loopback the answer itself is refused at once, and shutting down what is reset already fails."""

    async def silent(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint = await stage.endpoint(silent)
    proxy = await stage.proxy(forward(endpoint.port, retries=0), read_timeout=timedelta(seconds=0.2))
    # What follows the last request is not read, so the end of the connection is not seen.
    clients = [await stage.connect(proxy) for _ in range(3)]
    for client in clients:
        await client.send(get(fields=["Connection: close"]) + get())
    await until(lambda: len(endpoint.seen) == 3)

    for client in clients:
        client.writer.close()

    await until(lambda: proxy.statistics().requests_by_class.get(5) == 3)
    await until(lambda: proxy.statistics().connections_open == 0)


async def test_slow_head_is_a_408(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), header_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    assert (await client.ask(b"GET / HTTP/1.1\r\nHost:")).status == 408
    assert await client.is_closed()


async def test_connection_without_a_request_is_closed_in_silence(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), header_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    assert await client.rest() == b""


async def test_idle_connection_is_closed_in_silence(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), idle_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 503
    assert await client.rest() == b""


async def test_slow_body_is_a_408(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), body_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    assert (await client.ask(get(method="POST", fields=["Content-Length: 100"]) + b"x")).status == 408
    assert await client.is_closed()


@pytest.mark.parametrize("chunked", [False, True], ids=["by length", "within a chunk line"])
async def test_body_of_an_octet_now_and_then_is_a_408(stage: Stage, chunked: bool) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), body_timeout=timedelta(seconds=0.5))
    client = await stage.connect(proxy)
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100000"
    await client.send(get(method="POST", fields=[framing]))

    async def trickle() -> None:
        while True:
            await client.send(b"1")
            await asyncio.sleep(0.1)

    trickling = asyncio.ensure_future(trickle())
    try:
        answer = await client.answer()
    finally:
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)

    assert answer.status in (400, 408)  # a chunk size of too many digits
    assert [one.active for one in proxy.statistics().backends.values()] == [0]


async def test_body_that_keeps_the_least_rate_may_take_its_time(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), body_timeout=timedelta(seconds=1), min_body_rate=100)
    client = await stage.connect(proxy)
    await client.send(get(method="PUT", fields=["Content-Length: 3000"]))

    for _ in range(15):
        await client.send(b"x" * 200)
        await asyncio.sleep(0.1)

    assert (await client.answer()).status == 200


async def test_idle_pooled_connection_is_closed_after_a_while(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), upstream_idle_timeout=timedelta(milliseconds=100))
    client = await stage.connect(proxy)

    await client.ask(get())

    await until(lambda: proxy.statistics().upstream_open == 0)
    assert (await client.ask(get())).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get(method="POST", fields=["Content-Length: 11"]), id="by the length it says"),
        pytest.param(
            get(method="POST", fields=["Transfer-Encoding: chunked"]) + b"6\r\nsix...\r\n6\r\nsix...\r\n",
            id="by chunks",
        ),
    ],
)
async def test_body_over_the_limit_is_a_413(stage: Stage, request_bytes: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[BodyLimit(max_bytes=10)]))
    client = await stage.connect(proxy)

    answer = await client.ask(request_bytes)

    assert (answer.status, answer.value("connection")) == (413, "close")
    assert await client.is_closed()
    assert endpoint.seen == []


async def test_body_at_the_limit_passes(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[BodyLimit(max_bytes=10)]))
    client = await stage.connect(proxy)

    assert (await client.ask(get(method="POST", fields=["Content-Length: 10"]) + b"x" * 10)).status == 200


async def test_destination_that_is_not_allowed_is_not_connected_to(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    asked: list[str] = []

    def fault(address: str) -> str | None:
        asked.append(address)
        return "is a loopback address"

    proxy = await stage.proxy(forward(endpoint.port), destination_fault=fault)
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 502
    assert asked == ["127.0.0.1"]
    assert endpoint.connections == 0


async def never(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_too_many_connections_at_work_are_closed_at_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = await stage.endpoint(never)
    proxy = await stage.proxy(forward(endpoint.port), max_connections=2)
    kept = [await stage.connect(proxy) for _ in range(2)]
    for client in kept:
        await client.send(get())
    await until(lambda: len(endpoint.seen) == 2)

    for _ in range(3):
        assert await (await stage.connect(proxy)).is_closed()

    assert proxy.statistics().connections_refused == 3
    assert proxy.statistics().connections_open == 2
    [warning] = [one for one in caplog.records if one.getMessage().startswith("connections refused")]
    assert warning.levelname == "WARNING"


@pytest.mark.parametrize(
    ("files", "possible"),
    [(70, 3), (10, 1), (resource.RLIM_INFINITY, 5), (1_000_000, 5)],
    ids=["a low limit", "a limit below all use", "no limit", "a high limit"],
)
async def test_each_connection_leaves_a_file_for_one_to_an_endpoint(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, files: int, possible: int
) -> None:
    def limit(_which: int) -> tuple[int, int]:
        return files, files

    monkeypatch.setattr(resource, "getrlimit", limit)
    endpoint = await stage.endpoint(never)
    proxy = await stage.proxy(forward(endpoint.port), max_connections=5)
    kept = [await stage.connect(proxy) for _ in range(possible)]
    for client in kept:
        await client.send(get())
    await until(lambda: len(endpoint.seen) == possible)

    another = await stage.connect(proxy)

    assert await another.is_closed()
    assert proxy.statistics().connections_open == possible


async def test_redirects_and_fixed_answers(stage: Stage) -> None:
    table = make_table(
        make_target(Redirect(location="https://else.example/x", status=302), path="/go"),
        make_target(Respond(status=503), path="/closed"),
    )
    proxy = await stage.proxy(table)
    client = await stage.connect(proxy)

    go, closed = await client.ask(get("/go/on")), await client.ask(get("/closed"))

    assert (go.status, go.value("location")) == (302, "https://else.example/x")
    assert closed.status == 503


async def test_prefix_is_rewritten(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, path="/api", policies=[PrefixRewrite(prefix="/v2")]))
    client = await stage.connect(proxy)

    for path in ("/api", "/api/", "/api/x?y=/api"):
        await client.ask(get(path))

    assert [seen.line.split(b" ")[1] for seen in endpoint.seen] == [b"/v2", b"/v2/", b"/v2/x?y=/api"]


async def test_prefix_is_taken_away(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, path="/api", policies=[PrefixRewrite(prefix="/")]))
    client = await stage.connect(proxy)

    for path in ("/api", "/api/", "/api/x"):
        await client.ask(get(path))

    assert [seen.line.split(b" ")[1] for seen in endpoint.seen] == [b"/", b"/", b"/x"]


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_every_endpoint_gets_requests_except_by_client_hash(stage: Stage, algorithm: Algorithm) -> None:
    endpoints = [await stage.endpoint() for _ in range(3)]
    proxy = await stage.proxy(
        forward(*(one.port for one in endpoints), held=(LoadBalancing(algorithm=algorithm),))
    )
    client = await stage.connect(proxy)

    for _ in range(60):
        await client.ask(get())

    counts = sorted(len(one.seen) for one in endpoints)
    match algorithm:
        case Algorithm.ROUND_ROBIN | Algorithm.LEAST_CONNECTIONS:
            assert counts == [20, 20, 20]
        case Algorithm.RANDOM | Algorithm.EWMA:
            assert counts[0] > 0
        case Algorithm.CLIENT_HASH:
            assert counts == [0, 0, 60]


async def test_busy_endpoint_is_spared_by_least_connections(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def dawdle(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply())

    slow, fast = await stage.endpoint(dawdle), await stage.endpoint()
    proxy = await stage.proxy(
        forward(slow.port, fast.port, held=(LoadBalancing(algorithm=Algorithm.LEAST_CONNECTIONS),))
    )
    waiting = [await stage.connect(proxy) for _ in range(2)]
    for one in waiting:
        await one.send(get())
    await until(lambda: len(slow.seen) == 1)
    client = await stage.connect(proxy)

    for _ in range(5):
        await client.ask(get())
    go_on.set()

    assert len(slow.seen) == 1


async def test_weights_share_out_requests_smoothly(stage: Stage) -> None:
    old, new = await stage.endpoint(reply(b"old")), await stage.endpoint(reply(b"new"))
    backends = [make_backend(old.port, service="old"), make_backend(new.port, service="new")]
    empty = make_backend(service="empty")
    shares = tuple(
        WeightedBackend(backend.key, weight)
        for backend, weight in zip([*backends, empty], (3, 1, 5), strict=True)
    )
    proxy = await stage.proxy(make_table(make_target(Forward(backends=shares)), backends=[*backends, empty]))
    client = await stage.connect(proxy)

    bodies = [(await client.ask(get())).body.decode() for _ in range(8)]

    assert bodies.count("old") == 6
    assert [bodies[:4].count("new"), bodies[4:].count("new")] == [1, 1]
