"""What the reflector does about what the server does. Each test says after how long, on a virtual clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest

from ingresskit.cache import ReflectorSettings, ReflectorState, SharedInformer
from ingresskit.errors import ApiError, ConfigurationError, Expired, Forbidden, TooManyRequests, TransportError
from ingresskit.kube import ByteStream, ListOptions, ResourceKind, Response
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.doubles import (
    SERVICES,
    Log,
    equal,
    informer,
    key,
    put,
    running,
    same,
    seconds_until,
    until,
    verbs,
    watcher,
)
from tests.unit.cache.virtual_time import seeded

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> FakeTransport:
    made = FakeTransport()
    for name in ("a", "b", "c"):
        put(made, name)
    return made


async def test_the_state_is_streamed_and_followed_by_one_watch(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        assert same(it, server)
        put(server, "d")
        server.delete(SERVICES, key("a"))
        await equal(it, server)

        assert verbs(server) == ["stream"]
        assert it.state is ReflectorState.WATCHING


async def test_a_server_that_cannot_stream_is_listed_in_pages_at_once(server: FakeTransport) -> None:
    server.streams_lists = False

    async with running(informer(server, page_size=2)) as it:
        took = await seconds_until(lambda: it.has_synced)
        await until(lambda: it.state is ReflectorState.WATCHING)

        assert took < 0.2
        assert verbs(server) == ["stream", "list  2", "list  2", "watch 103"]
        assert same(it, server)


async def test_a_stream_that_is_cut_half_way_leaves_no_half_state(server: FakeTransport) -> None:
    server.ends_streams = False
    log = Log()
    it = informer(server)
    it.add_event_handler(log.handler())

    async with running(it):
        await until(lambda: server.open_watches == 1)
        await anyio.sleep(1)
        assert (len(it.store), log.told) == (0, [])
        server.break_watches()
        await it.wait_for_sync()
        await until(lambda: len(log.told) == 3)
        assert same(it, server)


async def test_nothing_is_lost_between_list_and_watch(server: FakeTransport) -> None:
    server.streams_lists = False
    server.delay(timedelta(seconds=5), verb="watch")  # the stream that is refused
    async with running(informer(server)) as it:
        server.delay(timedelta(seconds=5), verb="watch")
        await it.wait_for_sync()
        put(server, "late")
        server.delete(SERVICES, key("a"))
        await equal(it, server)

    assert it.statistics()["lists"] == 1


async def test_a_clean_end_resumes_where_it_was(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for number in range(20):
            await anyio.sleep(2)
            server.end_watches()
            put(server, f"late-{number}")
        await equal(it, server)

        assert it.statistics()["lists"] == 0
        assert it.statistics()["streams"] == 1


async def test_quiet_kinds_are_moved_on_by_bookmarks(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for _ in range(50):
            put(server, "elsewhere")  # something that this informer follows too, to move the version
        await anyio.sleep(240)
        server.compact()
        await anyio.sleep(240)

        assert it.last_sync_resource_version == str(server.version)
        assert verbs(server).count("stream") == 1
        assert it.statistics()["probes"] == 0


async def test_a_silent_watch_is_found_and_replaced_in_a_minute(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.stall_watches()
        put(server, "unseen")
        took = await seconds_until(lambda: same(it, server))

        assert took <= 60
        assert it.statistics()["idle_timeouts"] == 1
        assert it.statistics()["streams"] == 1


@pytest.mark.parametrize("inside", [True, False], ids=["as an event", "as the status"])
async def test_an_expired_version_is_listed_anew_and_only_differences_are_told(
    server: FakeTransport, inside: bool
) -> None:
    server.expires_inside = inside
    log = Log()
    it = informer(server, watch_list="never")
    it.add_event_handler(log.handler())

    async with running(it):
        await it.wait_for_sync()
        await until(lambda: len(log.told) == 3)
        await anyio.sleep(30)
        log.take()
        server.lose_events()
        server.delete(SERVICES, key("a"))
        put(server, "b", clusterIP="10.0.0.9")
        put(server, "d")
        server.lose_events(False)
        server.compact()
        server.sends_bookmarks = False
        server.end_watches()
        took = await seconds_until(lambda: same(it, server))
        await anyio.sleep(1)

        assert took <= 2
        assert sorted(log.told) == ["+d 106", "?a 101", "~b 102>105"]
        assert "list 103 500" in verbs(server)


async def test_a_list_that_is_refused_as_expired_asks_for_the_most_recent(server: FakeTransport) -> None:
    async with running(informer(server, watch_list="never")) as it:
        await it.wait_for_sync()
        await anyio.sleep(30)
        server.fail(Expired(status=410, reason="Expired"), times=2)
        server.end_watches()
        await until(lambda: it.statistics()["lists"] == 2)
        await until(lambda: it.state is ReflectorState.WATCHING)

        assert verbs(server)[-4:] == ["watch 103", "list 103 500", "list  500", "watch 103"]


async def test_a_page_token_that_expires_begins_the_list_anew_in_one_piece(server: FakeTransport) -> None:
    class Compacting(FakeTransport):
        async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
            if options.continue_token:
                put(self, "new")
                self.compact()
            return await super().list(kind, namespace, options)

    it_server = Compacting()
    for name in ("a", "b", "c"):
        put(it_server, name)

    async with running(informer(it_server, watch_list="never", page_size=2)) as it:
        await it.wait_for_sync()

        assert verbs(it_server)[:3] == ["list  2", "list  2", "list"]
        assert same(it, it_server)


@pytest.mark.parametrize("times", [1, 10**6], ids=["once", "for ever"])
async def test_a_version_that_is_too_large_is_not_asked_for_again_and_again(
    server: FakeTransport, times: int
) -> None:
    error = ApiError(status=504, reason="Timeout", message="Too large resource version: 5, current: 3")
    async with running(informer(server, watch_list="never")) as it:
        await it.wait_for_sync()
        await anyio.sleep(30)
        put(server, "d")
        server.fail(error, times=times, verb="watch")
        server.end_watches()
        before = len(server.requests)
        await anyio.sleep(300)

        assert len(server.requests) - before < (60 if times > 1 else 15)
        server.recover()
        await equal(it, server)


async def test_429_is_waited_out_and_nothing_is_listed(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        await anyio.sleep(5)
        server.fail(TooManyRequests(status=429, retry_after=timedelta(seconds=10)), times=3)
        server.end_watches()
        put(server, "d")
        took = await seconds_until(lambda: same(it, server))
        gaps = [later.at - earlier.at for earlier, later in pairwise(server.requests[1:])]

        assert 30 <= took <= 35
        assert min(gaps[:3]) >= 10
        assert verbs(server) == ["stream", *["watch 103"] * 4]


async def test_an_error_429_inside_the_watch_lists_nothing(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        await anyio.sleep(5)
        for _ in range(5):
            server.send_error(429, "TooManyRequests", "storage is (re)initializing")
            await until(lambda: server.open_watches == 0)
            await until(lambda: server.open_watches == 1)
            await anyio.sleep(2)

        assert set(verbs(server)[1:]) <= {"watch 103", "list  1"}  # one object, to see the version


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_errors_are_tried_again_at_most_once_a_second(server: FakeTransport, status: int) -> None:
    server.fail(ApiError(status=status), times=10**6)
    async with running(informer(server)) as it:
        await anyio.sleep(60)
        requests = server.requests[:]
        server.recover()
        took = await seconds_until(lambda: it.has_synced)

        assert len(requests) <= 15
        assert min(b.at - a.at for a, b in pairwise(requests)) >= 0.8
        assert took <= 10


async def test_a_server_that_is_down_at_first_is_followed_within_ten_seconds_of_its_coming(
    server: FakeTransport,
) -> None:
    server.fail(TransportError("refused"), times=10**6)
    async with running(informer(server)) as it:
        await anyio.sleep(120)
        assert len(server.requests) <= 120
        server.recover()
        took = await seconds_until(lambda: it.has_synced)

    assert took <= 10


async def test_the_state_stays_while_the_server_is_down(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.fail(TransportError("refused"), times=10**6)
        server.break_watches()
        await anyio.sleep(600)
        assert len(it.store) == 3
        assert it.has_synced
        assert not it.healthy(300)
        server.recover()
        put(server, "d")
        took = await seconds_until(lambda: same(it, server))

        assert took <= 60
        assert it.healthy(60)


@pytest.mark.parametrize(
    "garbage",
    [b"<html>busy</html>\n", b'{"type":"ADDED","obj\n', b"\xff\xfe\n", b"[1]\n", b'{"type":1,"object":{}}\n'],
    ids=["HTML", "cut JSON", "not UTF-8", "a list", "no event"],
)
async def test_garbage_in_the_watch_is_survived(server: FakeTransport, garbage: bytes) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for _ in range(5):
            server.send(garbage)
            await anyio.sleep(10)
            put(server, "d", clusterIP=f"10.0.0.{_}")
        await equal(it, server)

        assert len(server.requests) < 30


async def test_a_watch_that_is_nothing_but_garbage_ends_in_a_list(server: FakeTransport) -> None:
    async with running(informer(server, watch_list="never")) as it:
        await it.wait_for_sync()
        for _ in range(3):
            await until(lambda: server.open_watches == 1)
            server.send(b"<html>busy</html>\n")
            await until(lambda: server.open_watches == 0)
        await until(lambda: it.statistics()["lists"] == 2)


async def test_a_line_that_is_cut_by_the_end_is_asked_for_again(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.break_watches(after=b'{"type":"ADDED","object":{"kind":"Service","metadata":{"name":"caf\xc3')
        put(server, "d")
        await equal(it, server)

        assert verbs(server) == ["stream", "list  1", "watch 103"]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_lines_may_be_cut_anywhere(server: FakeTransport, size: int) -> None:
    server.chunk_bytes = size
    put(server, "d", externalName="café.example")
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        put(server, "e", externalName="日本.example")
        await equal(it, server)

        assert it.store.snapshot()[key("e")].spec.external_name == "日本.example"


async def test_events_that_are_doubled_late_or_out_of_order_change_nothing(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    it.add_event_handler(log.handler())
    async with running(it):
        await it.wait_for_sync()
        first = put(server, "d")
        second = put(server, "d", clusterIP="10.0.0.2")
        gone = put(server, "e")
        server.delete(SERVICES, key("e"))
        await equal(it, server)
        await anyio.sleep(1)
        log.take()
        for kind, item in [
            ("ADDED", first), ("MODIFIED", first), ("MODIFIED", second), ("ADDED", second),
            ("ADDED", gone), ("DELETED", gone), ("DELETED", first),
        ]:  # fmt: skip
            server.send_event(kind, item)
        await anyio.sleep(1)

        assert same(it, server)
        assert log.told == []


async def test_modified_before_added_is_an_addition(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.lose_events()
        new = put(server, "d")
        server.lose_events(False)
        server.send_event("MODIFIED", new)
        await equal(it, server)


async def test_an_unknown_event_is_logged_once(server: FakeTransport, caplog: pytest.LogCaptureFixture) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for _ in range(3):
            server.send_event("RENAMED", {"metadata": {"name": "a"}})
        put(server, "d")
        await equal(it, server)

        assert caplog.text.count("unknown type of watch event, ignored") == 1
        assert "RENAMED" in caplog.text


async def test_a_missed_delete_is_found_by_the_next_list(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    it.add_event_handler(log.handler())
    async with running(it):
        await it.wait_for_sync()
        await anyio.sleep(30)
        log.take()
        server.lose_events()
        server.delete(SERVICES, key("a"))
        server.lose_events(False)
        server.send_error(410, "Expired")
        await equal(it, server)
        await anyio.sleep(1)

        assert log.told == ["?a 101"]


@pytest.mark.parametrize("quiet", [True, False], ids=["silently", "breaking the watches"])
async def test_a_server_restored_from_a_backup_is_found_out(
    server: FakeTransport, quiet: bool, caplog: pytest.LogCaptureFixture
) -> None:
    backup = server.backup()
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for number in range(10):
            put(server, f"late-{number}")
        await equal(it, server)
        server.restore(backup, end_watches=not quiet)
        put(server, "other")
        put(server, "a", clusterIP="10.9.9.9")
        took = await seconds_until(lambda: same(it, server))

        assert took < 120
        assert it.statistics()["regressions"] == 1
        assert "the server went back to an older state, everything is compared" in caplog.text


async def test_a_restored_server_that_passed_our_version_is_compared_by_content(
    server: FakeTransport,
) -> None:
    backup = server.backup()
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        put(server, "a", clusterIP="10.1.1.1")  # 104
        await equal(it, server)
        server.fail(TransportError("refused"), times=10**6)
        server.restore(backup)
        put(server, "a", clusterIP="10.2.2.2")  # 104 again, another content
        put(server, "b", clusterIP="10.2.2.2")
        await anyio.sleep(400)
        server.recover()
        await equal(it, server)

        assert it.store.snapshot()[key("a")].spec.cluster_ip == "10.2.2.2"


async def test_a_restored_server_that_passed_our_version_at_once_is_found_in_ten_minutes(
    server: FakeTransport,
) -> None:
    backup = server.backup()
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        put(server, "a", clusterIP="10.1.1.1")
        await equal(it, server)
        server.restore(backup)
        for number in range(3):  # before anybody can ask for the version
            put(server, "a", clusterIP=f"10.2.2.{number}")
        took = await seconds_until(lambda: same(it, server))

        assert took <= 600
        assert it.store.snapshot()[key("a")].spec.cluster_ip == "10.2.2.2"


async def test_comparing_what_has_not_changed_tells_nothing(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        held = it.store.snapshot()
        await anyio.sleep(1800)

        assert it.store.snapshot() is held
        assert 3 <= verbs(server).count("stream") + verbs(server).count("list") <= 5


@pytest.mark.parametrize("missing", [False, True], ids=["403", "404"])
async def test_what_is_refused_is_tried_now_and_then_and_said_once(
    server: FakeTransport, missing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.unserve(SERVICES) if missing else server.forbid(SERVICES)
    async with running(informer(server)) as it:
        await it.wait_settled()
        assert not it.has_synced
        assert it.state is (ReflectorState.MISSING if missing else ReflectorState.FORBIDDEN)
        await anyio.sleep(600)
        assert len(server.requests) < 120
        assert len(caplog.records) == 1
        server.recover()
        took = await seconds_until(lambda: it.has_synced)

        assert took <= 60


async def test_a_right_taken_away_leaves_what_is_held_and_given_back_goes_on(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.forbid(SERVICES)
        server.end_watches()
        await anyio.sleep(120)
        assert len(it.store) == 3
        assert it.state is ReflectorState.FORBIDDEN
        assert isinstance(it.reflectors[0].last_error, Forbidden)
        put(server, "d")
        server.allow(SERVICES)
        took = await seconds_until(lambda: same(it, server))

        assert took <= 60
        assert it.reflectors[0].last_error is None


async def test_a_slow_server_has_one_request_at_a_time(server: FakeTransport) -> None:
    server.delay(timedelta(seconds=20), times=10**6)
    async with running(informer(server, watch_list="never", page_size=1)) as it:
        took = await seconds_until(lambda: it.has_synced)

        assert 60 <= took < 61
        assert len(server.requests) == 4 or len(server.requests) == 3


async def test_one_object_that_cannot_be_read_costs_only_itself(server: FakeTransport) -> None:
    server.put(SERVICES, {"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"ports": "eighty"}})
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        assert sorted(k.name for k in it.store) == ["a", "b", "c"]
        assert "Service shop/odd: spec.ports" in str(it.failures()[key("odd")].error)

        put(server, "odd")
        await until(lambda: not it.failures())
        assert key("odd") in it.store.snapshot()

        server.put(SERVICES, {"metadata": {"name": "odd", "namespace": "shop"}, "spec": 7})
        await until(lambda: len(it.failures()) == 1)
        assert it.store.get(key("odd")) is not None  # its last good form

        server.delete(SERVICES, key("odd"))
        await until(lambda: not it.failures())
        assert it.store.get(key("odd")) is None


async def test_a_process_that_was_paused_lists_anew(server: FakeTransport) -> None:
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        server.fail(TransportError("asleep"), times=10**6)
        server.break_watches()
        await anyio.sleep(601)
        server.recover()
        server.delete(SERVICES, key("a"))
        took = await seconds_until(lambda: same(it, server))

        assert took <= 35
        assert verbs(server)[-1] == "stream"


async def test_times_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="do not go together"):
        ReflectorSettings(idle_timeout=timedelta(seconds=45))


async def test_a_server_that_closes_at_once_is_not_asked_in_a_loop(server: FakeTransport) -> None:
    class Closing(FakeTransport):
        @asynccontextmanager
        async def watch(
            self, kind: ResourceKind, namespace: str, options: ListOptions
        ) -> AsyncGenerator[ByteStream, None]:
            async with super().watch(kind, namespace, options) as stream:
                self.end_watches()
                yield stream

    closing = Closing()
    put(closing, "a")
    async with running(informer(closing)) as it:
        await it.wait_for_sync()
        await anyio.sleep(300)

        assert len(closing.requests) < 40


async def test_watches_as_short_as_was_asked_for_are_no_failures(server: FakeTransport) -> None:
    second = timedelta(seconds=1)
    it = SharedInformer(
        watcher(server), settings=ReflectorSettings(watch_timeout=(second, second)), rng=seeded(7)
    )
    async with running(it):
        await it.wait_for_sync()
        for _ in range(10):
            await anyio.sleep(0.97)  # the server's second began before ours
            server.end_watches()
            await until(lambda: server.open_watches == 1)

        assert it.statistics()["failures"] == 0


async def test_a_watch_that_is_let_begin_is_a_sign_of_life(server: FakeTransport) -> None:
    server.sends_bookmarks = False
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        oldest = 0.0
        for _ in range(600):
            await anyio.sleep(0.5)
            oldest = max(oldest, anyio.current_time() - it.last_contact)

        assert oldest < 55


async def test_a_watch_that_is_cut_is_worth_no_line_and_an_outage_two(
    server: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(informer(server)) as it:
        await it.wait_for_sync()
        for _ in range(3):
            await anyio.sleep(10)
            server.break_watches()
        await anyio.sleep(10)
        assert it.state is ReflectorState.WATCHING
        assert [record.message for record in caplog.records] == []

        server.fail(TransportError("refused"), times=10**6)
        server.break_watches()
        await anyio.sleep(120)
        server.recover()
        await until(lambda: it.state is ReflectorState.WATCHING)

        words = [str(record.msg).partition(" resource=")[0] for record in caplog.records]
        assert words == ["not following the server", "following the server again"]
