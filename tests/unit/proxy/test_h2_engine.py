"""The adapter over HTTP/2 libraries: one contract, for each library on each side."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from ingresskit.errors import ConfigurationError
from ingresskit.proxy.h2.engine import (
    PREFACE,
    Engine,
    EngineLimits,
    EngineReceiver,
    ErrorCode,
    Fields,
)
from ingresskit.proxy.h2.libraries import make_engine

LIBRARIES = ("ngh2", "h2")
REQUEST = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/x"))
GET = ((b":method", b"GET"), *REQUEST[1:])
OK = ((b":status", b"200"), (b"x-a", b"1"))


class Journal(EngineReceiver):
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.heads: dict[int, tuple[dict[bytes, bytes], bool]] = {}
        self.interims: list[tuple[int, Fields]] = []
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.after: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
        self.closed: dict[int, int] = {}
        self.windows: list[int] = []
        self.settings = 0
        self.pongs: list[bytes] = []
        self.away: list[tuple[int, int]] = []

    @override
    def headers(self, stream: int, fields: Fields, *, ended: bool) -> None:
        assert stream not in self.heads
        self.heads[stream] = dict(fields), ended

    @override
    def interim(self, stream: int, fields: Fields) -> None:
        self.interims.append((stream, fields))

    @override
    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        assert stream in self.heads
        assert stream not in self.closed
        self.bodies[stream] = self.bodies.get(stream, b"") + data
        if ended:
            self.ended.add(stream)

    @override
    def trailers(self, stream: int, fields: Fields) -> None:
        self.after[stream] = tuple((bytes(name), bytes(value)) for name, value in fields)

    @override
    def stream_closed(self, stream: int, code: int) -> None:
        assert stream not in self.closed
        self.closed[stream] = code

    @override
    def window_opened(self, stream: int) -> None:
        self.windows.append(stream)

    @override
    def settings_received(self) -> None:
        self.settings += 1

    @override
    def ping_acknowledged(self, payload: bytes) -> None:
        self.pongs.append(payload)

    @override
    def going_away(self, last: int, code: int) -> None:
        self.away.append((last, code))


class Pair:
    """A client and a server, wired to each other."""

    def __init__(
        self,
        client_library: str,
        server_library: str,
        *,
        server: EngineLimits | None = None,
        client: EngineLimits | None = None,
    ) -> None:
        self.asked, self.answered = Journal(), Journal()
        self.server: Engine = make_engine(
            self.asked, server or EngineLimits(), server=True, library=server_library
        )
        self.client: Engine = make_engine(
            self.answered, client or EngineLimits(), server=False, library=client_library
        )
        self.run()

    def run(self) -> None:
        for _ in range(1000):
            forth, back = self.client.output(), self.server.output()
            if not forth and not back:
                return
            if forth:
                self.server.receive(forth)
            if back:
                self.client.receive(back)
        raise AssertionError("the two never fall silent")


@pytest.fixture(params=LIBRARIES)
def client_library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=LIBRARIES)
def server_library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestEngines:
    def test_exchange_with_bodies_interim_response_and_trailers(
        self, client_library: str, server_library: str
    ) -> None:
        pair = Pair(client_library, server_library)
        stream = pair.client.open((*REQUEST, (b"te", b"trailers")), last=False)
        pair.client.send_data(stream, b"abc", last=False)
        pair.client.send_trailers(stream, [(b"x-sum", b"7")])
        pair.run()

        head, ended = pair.asked.heads[stream]
        assert head[b":path"] == b"/x"
        assert not ended
        assert pair.asked.bodies[stream] == b"abc"
        assert pair.asked.after[stream] == ((b"x-sum", b"7"),)

        pair.server.send_interim(stream, [(b":status", b"103"), (b"link", b"</a>")])
        pair.server.respond(stream, OK, last=False)
        pair.server.send_data(stream, b"defg", last=False)
        pair.server.send_trailers(stream, [(b"grpc-status", b"0")])
        pair.run()

        assert dict(pair.answered.interims[0][1])[b":status"] == b"103"
        assert pair.answered.heads[stream][0][b"x-a"] == b"1"
        assert pair.answered.bodies[stream] == b"defg"
        assert pair.answered.after[stream] == ((b"grpc-status", b"0"),)
        assert pair.asked.closed == pair.answered.closed == {stream: 0}

    def test_response_without_body(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library)
        stream = pair.client.open(GET, last=True)
        pair.run()
        assert pair.asked.heads[stream][1]
        pair.server.respond(stream, OK, last=True)
        pair.run()

        assert pair.answered.heads[stream][1]
        assert pair.asked.closed == pair.answered.closed == {stream: 0}

    def test_no_more_is_received_than_the_windows_allow(self, client_library: str, server_library: str) -> None:
        limits = EngineLimits(stream_window=20_000, connection_window=70_000)
        pair = Pair(client_library, server_library, server=limits)
        streams = [pair.client.open(REQUEST, last=False) for _ in range(5)]
        for stream in streams:
            pair.client.send_data(stream, bytes(50_000), last=True)
        pair.run()

        sizes = {stream: len(pair.asked.bodies.get(stream, b"")) for stream in streams}
        assert max(sizes.values()) <= 20_000
        assert sum(sizes.values()) <= 70_000
        assert sum(map(pair.client.queued, streams)) == 250_000 - sum(sizes.values())

        consumed = dict.fromkeys(streams, 0)
        for _ in range(100):
            for stream in streams:
                size = len(pair.asked.bodies.get(stream, b"")) - consumed[stream]
                pair.server.consume(stream, size)
                consumed[stream] += size
            pair.run()
        assert set(consumed.values()) == {50_000}
        assert pair.asked.ended == set(streams)

    def test_octets_of_streams_that_closed_give_the_connection_window_back(
        self, client_library: str, server_library: str
    ) -> None:
        limits = EngineLimits(stream_window=60_000, connection_window=65_535)
        pair = Pair(client_library, server_library, server=limits)
        for _ in range(20):
            stream = pair.client.open(REQUEST, last=False)
            pair.client.send_data(stream, bytes(40_000), last=False)
            pair.run()
            assert len(pair.asked.bodies[stream]) == 40_000
            pair.server.reset(stream, ErrorCode.CANCEL)
            pair.run()
            assert pair.answered.closed[stream] == ErrorCode.CANCEL

    def test_what_waits_is_counted_and_moves_when_the_window_opens(
        self, client_library: str, server_library: str
    ) -> None:
        pair = Pair(client_library, server_library, client=EngineLimits(stream_window=1000))
        stream = pair.client.open(GET, last=True)
        pair.run()
        pair.server.respond(stream, OK, last=False)
        pair.server.send_data(stream, bytes(2500), last=True)
        pair.run()
        assert pair.server.queued(stream) == 1500
        pair.asked.windows.clear()
        pair.client.consume(stream, 1000)
        pair.run()

        assert stream in pair.asked.windows
        assert pair.server.queued(stream) <= 500

    def test_reset_ends_one_stream_on_both_sides(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library)
        first, second = pair.client.open(REQUEST, last=False), pair.client.open(GET, last=True)
        pair.run()
        pair.client.reset(first, ErrorCode.CANCEL)
        pair.run()
        assert pair.asked.closed == {first: ErrorCode.CANCEL}
        pair.server.respond(first, OK, last=True)  # does nothing
        pair.server.respond(second, OK, last=True)
        pair.run()

        assert pair.answered.closed == {first: ErrorCode.CANCEL, second: 0}
        assert not pair.server.is_over

    def test_stream_that_is_reset_at_once_is_never_reported(
        self, client_library: str, server_library: str
    ) -> None:
        pair = Pair(client_library, server_library)
        stream = pair.client.open(GET, last=True)
        octets = pair.client.output()
        pair.client.reset(stream, ErrorCode.CANCEL)
        pair.server.receive(octets + pair.client.output())
        pair.run()

        assert pair.asked.heads == {}
        assert pair.asked.closed == {}
        assert not pair.server.is_over

    def test_rapid_resets_end_the_connection(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library, server=EngineLimits(burst=50, per_second=1))
        opened = 0
        for _ in range(200):
            stream = pair.client.open(GET, last=True)
            if not stream:
                break
            opened += 1
            octets = pair.client.output()
            pair.client.reset(stream, ErrorCode.CANCEL)
            pair.server.receive(octets + pair.client.output())
            if back := pair.server.output():
                pair.client.receive(back)
        pair.run()

        assert pair.server.is_over
        assert 45 <= opened <= 60
        assert pair.answered.away

    def test_peer_learns_the_limit_of_streams(self, client_library: str, server_library: str) -> None:
        limits = EngineLimits(max_streams=7, connect_protocol=True)
        pair = Pair(client_library, server_library, server=limits)

        assert pair.answered.settings
        assert pair.client.peer_max_streams == 7
        assert pair.client.peer_connect_protocol

    def test_ping_comes_back(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library)
        pair.client.ping(b"12345678")
        pair.server.ping(b"abcdefgh")
        pair.run()

        assert pair.answered.pongs == [b"12345678"]
        assert pair.asked.pongs == [b"abcdefgh"]

    def test_graceful_end_finishes_what_is_open(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library)
        stream = pair.client.open(REQUEST, last=False)
        pair.run()
        pair.server.announce_end()
        late = pair.client.open(GET, last=True)
        pair.run()
        assert late in pair.asked.heads  # it was on its way
        pair.server.go_away()
        pair.run()
        assert not pair.client.can_open
        assert not pair.client.open(GET, last=True)
        for each in (stream, late):
            pair.server.respond(each, OK, last=False)
            pair.server.send_data(each, b"whole", last=True)
        pair.client.send_data(stream, b"", last=True)
        pair.run()

        assert pair.answered.bodies == {stream: b"whole", late: b"whole"}
        assert pair.answered.closed == {stream: 0, late: 0}

    def test_terminated_connection_says_so(self, client_library: str, server_library: str) -> None:
        pair = Pair(client_library, server_library)
        pair.client.open(REQUEST, last=False)
        pair.run()
        pair.server.terminate(ErrorCode.ENHANCE_YOUR_CALM)
        pair.run()

        assert pair.server.is_over
        assert (1, ErrorCode.ENHANCE_YOUR_CALM) in pair.answered.away
        pair.server.receive(b"anything")
        pair.server.ping(b"12345678")
        assert pair.server.output() == b""

    def test_calls_for_streams_that_never_were_do_nothing(
        self, client_library: str, server_library: str
    ) -> None:
        pair = Pair(client_library, server_library)
        for engine in (pair.client, pair.server):
            engine.respond(99, OK, last=True)
            engine.send_interim(99, OK)
            engine.send_data(99, b"a", last=True)
            engine.send_trailers(99, OK)
            engine.reset(99, ErrorCode.CANCEL)
            engine.consume(99, 10)
            assert engine.queued(99) == 0
        pair.run()

        assert not pair.server.is_over
        assert not pair.client.is_over


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


# A request without Huffman codes or a dynamic table: indexed :method, :scheme, :path, literal :authority.
BLOCK = b"\x82\x86\x84\x01\x06a.test"
SETTINGS = frame(4, 0, 0)


def server_engine(library: str, limits: EngineLimits | None = None) -> tuple[Journal, Engine]:
    journal = Journal()
    engine = make_engine(journal, limits or EngineLimits(), server=True, library=library)
    engine.output()
    return journal, engine


@pytest.mark.parametrize("library", LIBRARIES)
class TestBadInput:
    @pytest.mark.parametrize(
        "octets",
        [
            pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="not the preface"),
            pytest.param(PREFACE + frame(0, 0, 0, b"a"), id="data of the connection"),
            pytest.param(PREFACE + SETTINGS + frame(0, 0, 1, b"a"), id="data of an idle stream"),
            pytest.param(PREFACE + SETTINGS + frame(1, 5, 2, BLOCK), id="an even stream"),
            pytest.param(PREFACE + SETTINGS + frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"), id="broken block"),
            pytest.param(PREFACE + SETTINGS + frame(9, 4, 1, BLOCK), id="continuation of nothing"),
            pytest.param(
                PREFACE + SETTINGS + frame(1, 1, 1, BLOCK) + frame(6, 0, 0, bytes(8)), id="torn block"
            ),
            pytest.param(PREFACE + SETTINGS + frame(6, 0, 0, b"short"), id="short ping"),
            pytest.param(PREFACE + SETTINGS + frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"), id="window too large"),
            pytest.param(PREFACE + SETTINGS + frame(4, 0, 0, b"\0\5\0\0\0\1"), id="frames too small"),
            pytest.param(PREFACE + SETTINGS + frame(8, 0, 0, bytes(4)), id="window of nothing"),
            pytest.param(PREFACE + SETTINGS + frame(0x5, 4, 1, bytes(4) + BLOCK), id="push by a client"),
            pytest.param(PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1", id="frame too large"),
        ],
    )
    def test_violation_of_the_connection_ends_it(self, library: str, octets: bytes) -> None:
        journal, engine = server_engine(library)
        engine.receive(octets)
        last = engine.output()

        assert engine.is_over
        assert engine.error_code != ErrorCode.NO_ERROR
        assert b"\x07\x00\x00\x00\x00\x00" in last  # a GOAWAY
        assert engine.output() == b""
        assert journal.heads == {}

    @pytest.mark.parametrize(
        ("kind", "payload"),
        [
            pytest.param(6, bytes(8), id="ping"),
            pytest.param(4, b"\0\3\0\0\0\5", id="settings"),
        ],
    )
    def test_floods_end_the_connection(self, library: str, kind: int, payload: bytes) -> None:
        _, engine = server_engine(library, EngineLimits(burst=100, per_second=1))
        engine.receive(PREFACE + SETTINGS)
        sent = 0
        for _ in range(50):
            engine.receive(frame(kind, 0, 0, payload) * 10)
            sent += len(engine.output())
            if engine.is_over:
                break

        assert engine.error_code == ErrorCode.ENHANCE_YOUR_CALM
        assert sent < 10_000

    def test_flood_of_data_without_octets_ends_the_connection(self, library: str) -> None:
        _, engine = server_engine(library, EngineLimits(burst=100, per_second=1))
        engine.receive(PREFACE + SETTINGS + frame(1, 4, 1, b"\x83" + BLOCK[1:]))
        for _ in range(50):
            engine.receive(frame(0, 0, 1) * 10)
            engine.output()

        assert engine.is_over
        assert engine.error_code == ErrorCode.ENHANCE_YOUR_CALM

    def test_block_in_endless_continuations_ends_the_connection(self, library: str) -> None:
        _, engine = server_engine(library)
        engine.receive(PREFACE + SETTINGS + frame(1, 0, 1, BLOCK))
        for _ in range(200):
            engine.receive(frame(9, 0, 1, b"\x40\x01a\x01b"))
            engine.output()
            if engine.is_over:
                break

        assert engine.is_over

    def test_block_that_unpacks_to_too_much_ends_the_connection(self, library: str) -> None:
        # One entry of the table, referred to again and again.
        entry = b"\x40\x01a\x7f\x81\x1e" + b"v" * 4096
        journal, engine = server_engine(library, EngineLimits(max_field_bytes=10_000))
        engine.receive(PREFACE + SETTINGS + frame(1, 5, 1, BLOCK + entry + b"\xbe" * 4000))
        engine.output()

        assert engine.is_over or not journal.heads

    def test_too_many_streams_cost_no_more_than_those(self, library: str) -> None:
        journal, engine = server_engine(library, EngineLimits(max_streams=5))
        octets = b"".join(frame(1, 5, 2 * index + 1, BLOCK) for index in range(50))
        engine.receive(PREFACE + SETTINGS + frame(4, 1, 0) + octets)
        engine.output()

        assert len(journal.heads) <= 5


def test_missing_library_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"ingresskit\[http2\]"):
        make_engine(Journal(), EngineLimits(), server=True, library="nothing_of_that_name")


KINDS = st.integers(0, 12)
FRAMES = st.builds(
    frame,
    KINDS,
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1, 2**32 - 1]),
    st.one_of(st.binary(max_size=40), st.just(BLOCK), st.just(bytes(4)), st.just(bytes(8))),
)
GOOD = (
    frame(1, 4, 1, b"\x83" + BLOCK[1:]),
    frame(0, 0, 1, b"abc"),
    frame(0, 1, 1, b"d"),
    frame(1, 5, 3, BLOCK),
    frame(3, 0, 3, bytes(4)),
    frame(8, 0, 0, b"\0\0\0\x09"),
    frame(6, 0, 0, bytes(8)),
)


def drive(library: str, pieces: Sequence[bytes], *, answer: bool) -> None:
    journal, engine = server_engine(library)
    engine.receive(PREFACE + SETTINGS)
    for piece in pieces:
        engine.receive(piece)
        if answer:
            for stream in list(journal.heads):
                engine.respond(stream, OK, last=False)
                engine.send_data(stream, b"body", last=True)
                engine.consume(stream, 10)
        # Nothing that little input asks for is large.
        assert len(engine.output()) < 2000 + 100 * len(piece)
    assert len(journal.heads) <= 100


@pytest.mark.parametrize("library", LIBRARIES)
class TestFuzz:
    @given(pieces=st.lists(FRAMES, max_size=30), answer=st.booleans())
    @settings(max_examples=150, deadline=None)
    def test_any_frames(self, library: str, pieces: list[bytes], answer: bool) -> None:
        drive(library, pieces, answer=answer)

    @given(data=st.data(), answer=st.booleans())
    @settings(max_examples=150, deadline=None)
    def test_good_frames_with_octets_changed(self, library: str, data: st.DataObject, answer: bool) -> None:
        octets = bytearray(b"".join(GOOD))
        for _ in range(data.draw(st.integers(1, 6))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        size = data.draw(st.integers(1, len(octets)))
        drive(library, [bytes(octets[i : i + size]) for i in range(0, len(octets), size)], answer=answer)

    @given(octets=st.binary(max_size=2000))
    @settings(max_examples=100, deadline=None)
    def test_noise(self, library: str, octets: bytes) -> None:
        drive(library, [octets], answer=True)
