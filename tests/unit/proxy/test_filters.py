"""Filters of third parties at work: counts that outlive a request, and questions to somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import pytest

from ingresskit.filters import (
    BUILTIN_EFFECTS,
    UNCHANGED,
    Effect,
    HeaderEdit,
    Memory,
    PolicyEffects,
    Reply,
    RequestView,
    ResponseView,
    Subrequest,
    SubrequestReply,
)
from ingresskit.graph import Forward, Termination
from ingresskit.graph.nodes import WeightedBackend
from ingresskit.policies import AllowedSources, BodyLimit, Policy, RequestBuffering, Shadow, Shadowed
from ingresskit.policies import Stage as Place
from ingresskit.policies.values import parse_networks
from ingresskit.proxy import AccessRecord
from ingresskit.render.inprocess import RoutingTable
from ingresskit.testing import pace
from tests.unit.proxy.conftest import (
    Handler,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit(Policy):
    """So many requests of each client, and no more for the rest of the test."""

    burst: int = 2


@dataclass(frozen=True, slots=True)
class RateFilter:
    stage: ClassVar[Place] = Place.RATE

    burst: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        if memory.take(("rate", str(request.client)), 0.0, self.burst):
            return None
        return Reply(status=429, fields=((b"Retry-After", b"7"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAuth(Policy):
    """Asks another server; it must say 204."""

    url: str
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class AuthFilter:
    stage: ClassVar[Place] = Place.AUTHENTICATION

    url: str
    timeout: float

    def request(self, request: RequestView, memory: Memory) -> Subrequest:
        credentials = request.field(b"authorization")
        fields = [(b"X-Original-Path", request.path.encode())]
        if credentials is not None:
            fields.append((b"Authorization", credentials))
        return Subrequest(url=self.url, fields=tuple(fields), timeout=timedelta(seconds=self.timeout))

    def resume(self, request: RequestView, reply: SubrequestReply) -> Reply | HeaderEdit | None:
        if reply.status == 204:
            user = dict(reply.fields).get(b"x-user", b"")
            return HeaderEdit(frozenset((b"x-user",)), ((b"X-User", user),)) if user else None
        if reply.status in (401, 403):
            return Reply(status=reply.status, fields=((b"WWW-Authenticate", b"Basic"),))
        return Reply(status=503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Policy):
    """A filter with a fault."""

    kind: str = "raise"


@dataclass(frozen=True, slots=True)
class FaultyFilter:
    stage: ClassVar[Place] = Place.RATE

    kind: str

    def request(self, request: RequestView, memory: Memory) -> Reply | Subrequest | HeaderEdit | None:
        match self.kind:
            case "raise":
                raise RuntimeError("a fault")
            case "split":
                return HeaderEdit(fields=((b"X-A", b"1\r\nX-B: 2"),))
            case "framing":
                return HeaderEdit(fields=((b"Content-Length", b"3"),))
            case "split reply":
                return Reply(status=403, fields=((b"X-A", b"1\r\n\r\n"),))
            case _:
                return Subrequest(url="http://127.0.0.1:9/")  # and it cannot be resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo(Policy):
    """Responses name the request they belong to."""

    broken: bool = False


@dataclass(frozen=True, slots=True)
class EchoFilter:
    broken: bool

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        if self.broken:
            raise RuntimeError("a fault")
        if response.field(b"content-type") != b"text/plain":
            return UNCHANGED
        value = b"%b %b" % (request.path.encode(), request.field(b"x-marks") or b"-")
        return HeaderEdit(frozenset((b"x-echo",)), ((b"X-Echo", value),))


def effects() -> PolicyEffects:
    return (
        BUILTIN_EFFECTS.with_policy(RateLimit, lambda policy: Effect(guards=(RateFilter(policy.burst),)))
        .with_policy(ExternalAuth, lambda policy: Effect(guards=(AuthFilter(policy.url, policy.timeout),)))
        .with_policy(Fault, lambda policy: Effect(guards=(FaultyFilter(policy.kind),)))
        .with_policy(Echo, lambda policy: Effect(responses=(EchoFilter(policy.broken),)))
    )


def guarded(port: int, *policies: Policy) -> RoutingTable:
    """A table whose route has these policies, as a worker process would get it."""
    table = forward(port, policies=policies, effects=effects())
    loaded: RoutingTable = pickle.loads(pickle.dumps(table))  # noqa: S301 - our own
    return loaded


def credentials(name: str) -> Iterable[str]:
    return [f"Authorization: Bearer {name}"]


async def judge(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets ann in, and nobody else."""
    known = request.value("authorization") == "Bearer ann"
    writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    if known:
        writer.write(b"HTTP/1.1 204 No Content\r\nX-User: ann\r\n\r\n")
    else:
        writer.write(reply(b"who?", status="401 Unauthorized"))


async def test_a_count_outlives_its_request_and_a_refusal_has_the_fields_of_the_filter(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, RateLimit(burst=2)))
    client = await stage.connect(proxy)

    answers = [await client.ask(get()) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].value("retry-after") == "7"
    assert len(endpoint.seen) == 2


async def test_a_count_is_kept_when_the_table_is_swapped(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, RateLimit(burst=1)))
    client = await stage.connect(proxy)
    await client.ask(get())

    proxy.swap(guarded(endpoint.port, RateLimit(burst=1)))

    assert (await client.ask(get())).status == 429


async def test_a_refusal_on_trial_is_counted_and_logged_and_the_request_goes_on(stage: Stage) -> None:
    auth = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    policies = (
        RateLimit(burst=0),
        ExternalAuth(url=f"http://127.0.0.1:{auth.port}/"),
        Shadow(on_trial=(Shadowed.ALL,)),
    )
    proxy = await stage.proxy(guarded(endpoint.port, *policies), access_log=records.append)
    client = await stage.connect(proxy)

    answers = [await client.ask(get(fields=credentials(name))) for name in ("eve", "ann")]

    assert [answer.status for answer in answers] == [200, 200]
    assert [record.shadow for record in records] == [("rate", "authentication"), ("rate",)]
    assert proxy.statistics().shadowed == {"authentication": 1, "rate": 2}


async def test_pipelined_requests_are_each_counted(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, RateLimit(burst=2)))
    client = await stage.connect(proxy)

    await client.send(get() * 4)
    answers = [await client.answer() for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 429, 429]


async def test_an_address_that_is_not_let_in_costs_no_token_and_no_question(stage: Stage) -> None:
    auth = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    closed = AllowedSources(networks=parse_networks("192.0.2.0/24"))
    policies = (ExternalAuth(url=f"http://127.0.0.1:{auth.port}/"), RateLimit(burst=1))
    proxy = await stage.proxy(guarded(endpoint.port, closed, *policies))
    client = await stage.connect(proxy)
    assert (await client.ask(get(fields=credentials("ann")))).status == 403

    proxy.swap(guarded(endpoint.port, *policies))

    assert (await client.ask(get(fields=credentials("ann")))).status == 200
    assert len(auth.seen) == 1


async def test_who_is_known_elsewhere_is_let_in_and_the_endpoint_learns_the_name(stage: Stage) -> None:
    auth = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    table = guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{auth.port}/check?a=b"))
    proxy = await stage.proxy(table, access_log=records.append)
    client = await stage.connect(proxy)

    answer = await client.ask(get("/cart", fields=[*credentials("ann"), "X-User: mallory", "X_User: mallory"]))

    assert answer.status == 200
    assert endpoint.seen[0].values("x-user") == ["ann"]
    assert b"mallory" not in endpoint.seen[0].head
    assert auth.seen[0].line == b"GET /check?a=b HTTP/1.1"
    assert auth.seen[0].value("host") == f"127.0.0.1:{auth.port}"
    assert auth.seen[0].value("x-original-path") == "/cart"
    assert [(record.status, record.attempts) for record in records] == [(200, 1)]


async def test_who_is_not_known_gets_the_response_of_the_filter_and_no_endpoint_the_request(
    stage: Stage,
) -> None:
    auth = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    table = guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{auth.port}/"))
    proxy = await stage.proxy(table, access_log=records.append)
    client = await stage.connect(proxy)

    refused = await client.ask(get(fields=credentials("eve")))
    let_in = await client.ask(get(fields=credentials("ann")))

    assert (refused.status, refused.value("www-authenticate")) == (401, "Basic")
    assert let_in.status == 200
    assert len(endpoint.seen) == 1
    assert [record.termination for record in records] == [Termination.DENIED, None]


async def test_pipelined_requests_are_judged_one_after_the_other(stage: Stage) -> None:
    auth = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{auth.port}/")))
    client = await stage.connect(proxy)

    names = ["ann", "eve", "ann", "eve"]
    await client.send(b"".join(get(f"/{n}", fields=credentials(name)) for n, name in enumerate(names)))
    answers = [await client.answer() for _ in names]

    assert [answer.status for answer in answers] == [200, 401, 200, 401]
    assert [seen.line for seen in endpoint.seen] == [b"GET /0 HTTP/1.1", b"GET /2 HTTP/1.1"]


async def test_a_body_that_came_while_a_filter_asked_is_gathered_on(stage: Stage) -> None:
    go = asyncio.Event()

    async def late(request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await judge(request, reader, writer)

    auth, endpoint = await stage.endpoint(late), await stage.endpoint()
    policies = (ExternalAuth(url=f"http://127.0.0.1:{auth.port}/"), RequestBuffering(max_bytes=1 << 20))
    proxy = await stage.proxy(guarded(endpoint.port, *policies))
    client = await stage.connect(proxy)
    head = get(method="POST", fields=[*credentials("ann"), "Content-Length: 400000"])
    client.writer.write(head + b"x" * 400_000)
    await until(lambda: len(auth.seen) == 1)
    go.set()

    assert (await client.answer()).status == 200
    assert endpoint.seen[0].body == b"x" * 400_000


async def _silent(_request: Seen, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _malformed(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nContent-Length: 0\r\nX : y\r\n\r\n")


async def _endless_head(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\nX-Fill: " + b"a" * 200_000)


async def _cut(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\nX-A: ")
    writer.close()


@pytest.mark.parametrize(
    ("auth", "seconds"),
    [(_silent, 0.2), (_malformed, 60.0), (_endless_head, 60.0), (_cut, 60.0)],
    ids=["silent", "malformed", "a head without an end", "cut"],
)
async def test_a_subrequest_without_a_response_keeps_the_route_closed(
    stage: Stage, auth: Handler, seconds: float
) -> None:
    asked = await stage.endpoint(auth)
    endpoint = await stage.endpoint()
    policy = ExternalAuth(url=f"http://127.0.0.1:{asked.port}/", timeout=seconds)
    proxy = await stage.proxy(guarded(endpoint.port, policy))
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=credentials("ann")))).status == 503
    assert (await client.ask(get(fields=credentials("ann")))).status == 503
    assert endpoint.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        *("", "/check", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:{port}/a\r\nX: y"),
        *("http://127.0.0.1:{closed}/", "https://127.0.0.1:{port}/", "http://127.0.0.1:99999/"),
        "http://no-such-name.invalid/",
    ],
)
async def test_a_subrequest_that_cannot_be_sent_keeps_the_route_closed(stage: Stage, url: str) -> None:
    asked = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    # Short: an endpoint without TLS waits for the rest of what it takes for a request.
    policy = ExternalAuth(url=url.format(port=asked.port, closed=await stage.closed_port()), timeout=0.5)
    proxy = await stage.proxy(guarded(endpoint.port, policy))
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=credentials("ann")))).status == 503
    assert endpoint.connections == 0
    assert not asked.seen


async def test_a_subrequest_goes_only_where_endpoints_may_be(stage: Stage) -> None:
    asked = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    table = guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/"))
    proxy = await stage.proxy(table, destination_fault="is {}".format)
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=credentials("ann")))).status == 503
    assert asked.connections == 0


async def test_a_client_that_leaves_ends_the_subrequest_and_nothing_is_forwarded(stage: Stage) -> None:
    ended = asyncio.Event()

    async def auth(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):  # the proxy resets it
            assert await reader.read() == b""
        ended.set()

    asked = await stage.endpoint(raw=auth)
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    table = guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/"))
    proxy = await stage.proxy(table, access_log=records.append)
    client = await stage.connect(proxy)
    await client.send(get(fields=credentials("ann")))
    await until(lambda: asked.connections == 1)

    await client.close()
    async with asyncio.timeout(pace.within(30.0)):
        await ended.wait()

    await until(lambda: bool(records))
    assert [(record.status, record.termination) for record in records] == [(499, Termination.CLIENT_LEFT)]
    assert endpoint.connections == 0


async def test_a_proxy_closes_while_a_filter_waits(stage: Stage) -> None:
    asked = await stage.endpoint(_silent)
    records: list[AccessRecord] = []
    table = guarded(1, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/"))
    proxy = await stage.proxy(table, access_log=records.append)
    client = await stage.connect(proxy)
    await client.send(get(fields=credentials("ann")))
    await until(lambda: bool(asked.seen))

    await proxy.close()

    assert [(record.status, record.termination) for record in records] == [(503, Termination.SHUTDOWN)]
    assert await client.is_closed()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_body_waits_for_the_judgement_and_arrives_whole(stage: Stage, chunked: bool) -> None:
    release = asyncio.Event()

    async def auth(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    asked = await stage.endpoint(auth)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/")))
    client = await stage.connect(proxy)
    body = bytes(range(256)) * 8192  # 2 MB: more than the proxy keeps
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    client.writer.write(get(method="POST", fields=[framing]) + sent)
    await until(lambda: bool(asked.seen))
    assert endpoint.connections == 0

    release.set()

    assert (await client.answer()).status == 200
    assert endpoint.seen[0].body == body


async def test_a_refused_upload_ends_the_connection_after_the_response(stage: Stage) -> None:
    asked = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/")))
    client = await stage.connect(proxy)

    fields = [*credentials("eve"), "Content-Length: 10", "Expect: 100-continue"]
    answer = await client.ask(get(method="POST", fields=fields))

    assert (answer.status, answer.value("connection")) == (401, "close")
    assert endpoint.connections == 0


async def test_a_body_over_the_limit_is_refused_after_the_judgement_too(stage: Stage) -> None:
    asked = await stage.endpoint(judge)
    endpoint = await stage.endpoint()
    policies = (ExternalAuth(url=f"http://127.0.0.1:{asked.port}/"), BodyLimit(max_bytes=4))
    proxy = await stage.proxy(guarded(endpoint.port, *policies))
    client = await stage.connect(proxy)

    fields = [*credentials("ann"), "Transfer-Encoding: chunked"]
    answer = await client.ask(get(method="POST", fields=fields) + b"5\r\nabcde\r\n0\r\n\r\n")

    assert answer.status == 413
    assert not endpoint.seen


async def test_a_malformed_body_during_a_subrequest_is_400(stage: Stage) -> None:
    asked = await stage.endpoint(_silent)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/")))
    client = await stage.connect(proxy)
    await client.send(get(method="POST", fields=["Transfer-Encoding: chunked"]))
    await until(lambda: bool(asked.seen))

    answer = await client.ask(b"no length\r\n")

    assert answer.status == 400
    assert endpoint.connections == 0


async def test_what_a_table_lost_during_a_subrequest_is_not_forwarded_to(stage: Stage) -> None:
    release = asyncio.Event()

    async def auth(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    asked = await stage.endpoint(auth)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, ExternalAuth(url=f"http://127.0.0.1:{asked.port}/")))
    client = await stage.connect(proxy)
    await client.send(get())
    await until(lambda: bool(asked.seen))

    proxy.swap(RoutingTable())
    release.set()

    assert (await client.answer()).status == 503


@pytest.mark.parametrize("kind", ["raise", "split", "framing", "split reply", "not resumed"])
async def test_a_filter_with_a_fault_closes_its_route(
    stage: Stage, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    endpoint = await stage.endpoint()
    backend = make_backend(endpoint.port)
    action = Forward(backends=(WeightedBackend(backend.key),))
    table = make_table(
        make_target(action, path="/faulty", policies=[Fault(kind=kind)], effects=effects()),
        make_target(action),
        backends=[backend],
    )
    proxy = await stage.proxy(table)
    client = await stage.connect(proxy)

    with caplog.at_level(logging.CRITICAL if kind == "not resumed" else logging.ERROR):
        faulty = await client.ask(get("/faulty"))
    fine = await client.ask(get())

    assert (faulty.status, faulty.body) == (500, b"The proxy could not handle the request.\n")
    assert fine.status == 200
    assert len(endpoint.seen) == 1


async def test_a_response_filter_sees_the_request_and_the_response(stage: Stage) -> None:
    plain = reply(fields=["Content-Type: text/plain", "X-Echo: inner", "X_Echo: inner"])
    endpoint = await stage.endpoint([plain, reply(fields=["Content-Type: text/html", "X-Echo: inner"])])
    proxy = await stage.proxy(guarded(endpoint.port, Echo()))
    client = await stage.connect(proxy)

    first = await client.ask(get("/a", fields=["X-Marks: one", "x-marks: two"]))
    second = await client.ask(get("/b"))

    assert first.values("x-echo") == ["/a one, two"]
    assert b"inner" not in first.head
    assert second.values("x-echo") == ["inner"]


async def test_a_response_filter_with_a_fault_costs_the_response(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, Echo(broken=True)))
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 500
    assert (await client.ask(get())).status == 500
