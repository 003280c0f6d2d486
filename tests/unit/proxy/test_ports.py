"""A protocol that is not HTTP/1.1 stands beside it: many streams on a connection, no octets, the same core."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ingresskit.graph import Termination
from ingresskit.proxy import AccessRecord, ProxySettings
from ingresskit.proxy.deadlines import Deadlines
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.exchange.admission import Admission
from ingresskit.proxy.exchange.exchange import Exchange
from ingresskit.proxy.exchange.filter_context import FilterContext
from ingresskit.proxy.exchange.runtime import Runtime
from ingresskit.proxy.h1.subrequests import Subrequests
from ingresskit.proxy.limits.memory import Memory
from ingresskit.proxy.message.forwarded import Peer, PublicPorts, parse_address
from ingresskit.proxy.message.head import RequestHead, ResponseHead
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.message.request import ForwardedRequest
from ingresskit.proxy.ports.streams import RequestReceiver, ResponseReceiver, Upstream
from ingresskit.proxy.ports.tunnels import ByteEnd
from ingresskit.proxy.statistics import Counters
from ingresskit.proxy.timeouts import Timeouts
from ingresskit.proxy.upstreams.balance import Balancer
from ingresskit.proxy.upstreams.pool import Pool
from tests.unit.proxy.conftest import forward, until

Event = tuple[object, ...]


@dataclass(eq=False)
class ClientStream:
    """A stream of a client: writes down what it is to send."""

    sent: list[Event] = field(default_factory=list[Event])
    write_paused: bool = False
    read_pauses: int = 0
    given_up: bool = False
    timed_out: bool = False

    def has_left(self) -> bool:
        return False

    def send_interim(self, head: ResponseHead, fields: bytes) -> None:
        self.sent.append(("interim", head.status, fields))

    def send_head(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes, *, last: bool) -> None:
        self.sent.append(("head", head.status, fields + extra, data, last))

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        self.sent.append(("data", data, last, trailers))

    def send_local_reply(
        self,
        status: int,
        *,
        sentence: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> int:
        self.sent.append(("local reply", status))
        return 0

    def upgrade(self, head: ResponseHead, fields: bytes, extra: bytes, data: bytes) -> ByteEnd:
        raise NotImplementedError

    def pause_reading(self, reason: int) -> None:
        self.read_pauses |= reason

    def resume_reading(self, reason: int) -> None:
        self.read_pauses &= ~reason

    def recharge(self) -> None: ...

    def hand_over(self, receiver: RequestReceiver) -> None: ...

    def finish(self) -> None:
        self.sent.append(("finish",))

    def reset(self) -> None:
        self.sent.append(("reset",))


class EndpointStream:
    """A stream of a connection to an endpoint: writes down what it is to send."""

    may_be_unprocessed = False
    unprocessed = False

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.reused = bool(connection.lent)
        self.received_any = False
        self.sent: list[Event] = []
        self.receiver: ResponseReceiver | None = None

    @property
    def unsent_bytes(self) -> int:
        return 0

    def send_request(
        self,
        receiver: ResponseReceiver,
        request: ForwardedRequest,
        body: Sequence[bytes],
        *,
        last: bool,
        timeout: float,
    ) -> None:
        self.receiver = receiver
        self.sent.append((request.method, request.sent_path, b"".join(body), last))

    def send_data(self, data: bytes, *, last: bool, trailers: bytes = b"") -> None:
        self.sent.append((data, last, trailers))

    def expect_response(self, timeout: float) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def upgrade(self) -> ByteEnd:
        raise NotImplementedError

    def release(self, *, reusable: bool) -> None:
        self.sent.append(("release", reusable))
        self.connection.came_back()

    def reset(self) -> None:
        self.sent.append(("reset",))
        self.connection.came_back()


class Connection:
    """A connection that lends two streams at a time."""

    def __init__(self, pool: Pool, endpoint: EndpointState, server_name: str) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.server_name = server_name
        self.idle_since = 0.0
        self.lent: list[EndpointStream] = []
        self.under_way = 0
        self.retired = False
        pool.opened(self)

    @property
    def has_room(self) -> bool:
        return self.under_way < 2

    def lend(self) -> Upstream | None:
        stream = EndpointStream(self)
        self.lent.append(stream)
        self.under_way += 1
        return stream

    def came_back(self) -> None:
        had_room = self.has_room
        self.under_way -= 1
        if not had_room:
            self.pool.returned(self)

    def retire(self) -> None:
        self.retired = True

    def abort(self) -> None: ...


class Bench:
    """The core of the proxy with that protocol on both sides."""

    def __init__(self) -> None:
        self.records: list[AccessRecord] = []
        self.made: list[Connection] = []
        given = ProxySettings(access_log=self.records.append)
        self.counters = Counters()
        timeouts = Timeouts.of(given)
        self.deadlines = Deadlines(asyncio.get_running_loop())
        pool = self.pool = Pool(given, timeouts, self.deadlines, self.counters, self.connect)
        runtime = Runtime(
            settings=given,
            timeouts=timeouts,
            deadlines=self.deadlines,
            counters=self.counters,
            memory=Memory(1 << 20, 1 << 20),
            pool=pool,
            send_subrequest=Subrequests(given, self.deadlines.now),
        )
        filters = FilterContext(given, self.deadlines, self.counters)
        self.admission = Admission(runtime, filters, Balancer(pool), forward(9))

    async def connect(self, pool: Pool, endpoint: EndpointState, address: str, server_name: str) -> Connection:
        connection = Connection(pool, endpoint, server_name)
        self.made.append(connection)
        return connection

    def ask(self, method: bytes = b"GET", *, length: int | None = 0) -> tuple[ClientStream, Exchange]:
        head = RequestHead(method, b"/", False, b"te: trailers\r\n")
        head.host, head.length = b"web.example", length
        peer = Peer(parse_address("192.0.2.1"), tls=True, listener_port=443, trusted=(), public=PublicPorts())
        stream = ClientStream()
        exchange = self.admission.admit(stream, peer, head, RequestedHost(head.host))
        assert isinstance(exchange, Exchange)
        return stream, exchange

    async def streams(self, count: int) -> list[EndpointStream]:
        await until(lambda: sum(len(connection.lent) for connection in self.made) >= count)
        return [stream for connection in self.made for stream in connection.lent]


def response(status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"", False, b"x-from: endpoint\r\n")


@pytest.mark.anyio
async def test_exchanges_share_a_connection_as_long_as_it_has_room() -> None:
    bench = Bench()
    clients = [bench.ask()]
    clients[0][1].start(b"", complete=True)
    await bench.streams(1)
    for _ in range(2):
        clients.append(bench.ask())
        clients[-1][1].start(b"", complete=True)

    streams = await bench.streams(3)

    assert [len(connection.lent) for connection in bench.made] == [2, 1]
    for stream in streams:
        assert stream.receiver is not None
        stream.receiver.response(response(), b"ok", complete=True)
    assert [client.sent for client, _ in clients] == [
        [("head", 200, b"x-from: endpoint\r\n", b"ok", True), ("finish",)]
    ] * 3
    assert [stream.sent[-1] for stream in streams] == [("release", True)] * 3


@pytest.mark.anyio
async def test_connection_with_a_stream_that_came_back_is_lent_again() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.ask()[1].start(b"", complete=True)
        await bench.streams(number)
    first, _ = await bench.streams(2)
    assert first.receiver is not None
    first.receiver.response(response(204), b"", complete=True)

    bench.ask()[1].start(b"", complete=True)

    await bench.streams(3)
    assert len(bench.made) == 1


@pytest.mark.anyio
async def test_interim_responses_and_trailers_pass_without_a_protocol() -> None:
    bench = Bench()
    client, exchange = bench.ask(b"POST", length=None)
    exchange.start(b"one", complete=False)
    (stream,) = await bench.streams(1)
    assert stream.receiver is not None

    exchange.request_data(b"two", complete=True, trailers=b"x-sum: 6\r\n")
    stream.receiver.interim_response(response(103))
    stream.receiver.response(response(), b"", complete=False)
    stream.receiver.response_data(b"", complete=True, trailers=b"grpc-status: 0\r\n")

    assert stream.sent[:2] == [(b"POST", "/", b"one", False), (b"two", True, b"x-sum: 6\r\n")]
    assert client.sent == [
        ("interim", 103, b"x-from: endpoint\r\n"),
        ("head", 200, b"x-from: endpoint\r\n", b"", False),
        ("data", b"", True, b"grpc-status: 0\r\n"),
        ("finish",),
    ]


@pytest.mark.anyio
async def test_response_that_ends_before_its_request_is_whole_and_its_stream_not_reused() -> None:
    bench = Bench()
    client, exchange = bench.ask(b"POST", length=None)
    exchange.start(b"one", complete=False)
    (stream,) = await bench.streams(1)
    assert stream.receiver is not None

    stream.receiver.response(response(413), b"", complete=True)

    assert client.sent[-1] == ("finish",)
    assert not exchange.request_complete
    assert stream.sent[-1] == ("release", False)
    assert [(record.status, record.termination) for record in bench.records] == [(413, None)]


@pytest.mark.anyio
async def test_client_stream_that_is_lost_resets_the_one_to_the_endpoint_only() -> None:
    bench = Bench()
    exchanges = [bench.ask()[1] for _ in range(2)]
    for number, exchange in enumerate(exchanges, 1):
        exchange.start(b"", complete=True)
        await bench.streams(number)

    exchanges[0].client_lost()

    lost, other = await bench.streams(2)
    assert lost.sent[-1] == ("reset",)
    assert other.sent[-1] != ("reset",)
    assert [record.termination for record in bench.records] == [Termination.CLIENT_LEFT]
