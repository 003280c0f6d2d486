"""Streams of the whole state that fail, and the lists that follow them, on a virtual clock."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from ingresskit.cache import ReflectorState
from ingresskit.errors import ApiError, Forbidden, NotFound, TooManyRequests, TransportError
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.doubles import informer, put, running, same, seconds_until, until, verbs

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> FakeTransport:
    made = FakeTransport()
    for name in ("a", "b", "c"):
        put(made, name)
    return made


async def test_a_stream_without_an_end_is_followed_by_a_list_at_once(server: FakeTransport) -> None:
    server.ends_streams = False

    async with running(informer(server)) as it:
        took = await seconds_until(lambda: it.has_synced)
        await until(lambda: it.state is ReflectorState.WATCHING)

        assert took < 11
        assert verbs(server) == ["stream", "list  500", "watch 103"]


async def test_a_busy_stream_without_an_end_is_followed_by_a_list_as_soon(server: FakeTransport) -> None:
    server.ends_streams = False

    took = float("inf")

    async with running(informer(server)) as it:
        async with anyio.create_task_group() as tasks:

            async def keep_changing() -> None:
                while True:
                    put(server, "a")
                    await anyio.sleep(1)

            tasks.start_soon(keep_changing)
            took = await seconds_until(lambda: it.has_synced)
            tasks.cancel_scope.cancel()

        assert took < 12
        assert verbs(server)[:2] == ["stream", "list  500"]


async def test_a_slow_stream_that_still_brings_objects_is_not_given_up(server: FakeTransport) -> None:
    server.ends_streams = False

    async with running(informer(server)) as it:
        await until(lambda: server.open_watches == 1)
        for number in range(4):
            await anyio.sleep(8)
            put(server, f"late-{number}")
        assert verbs(server) == ["stream"]
        assert not it.has_synced


async def test_after_two_streams_that_failed_where_a_list_worked_no_more_are_tried(
    server: FakeTransport,
) -> None:
    server.ends_streams = False

    async with running(informer(server)) as it:
        await it.wait_for_sync()
        await anyio.sleep(1800)  # everything is compared now and then

        assert verbs(server).count("stream") == 2
        assert verbs(server).count("list  500") >= 3


ANY_FAILURE = {
    "an error event with code 500": ApiError(
        status=500, reason="InternalError", message="required storage feature RequestWatchProgress is disabled"
    ),
    "an error event with code 403": Forbidden(status=403, reason="Forbidden"),
    "an error event with code 404": NotFound(status=404, reason="NotFound"),
    "an error event with code 409": ApiError(status=409, reason="Conflict"),
    "an error event with code 503": ApiError(status=503, reason="ServiceUnavailable"),
}


@pytest.mark.parametrize("inside", [False, True], ids=["as the response", "as an event of the stream"])
@pytest.mark.parametrize("name", ANY_FAILURE)
async def test_any_error_of_a_stream_is_followed_by_a_list(
    server: FakeTransport, name: str, inside: bool
) -> None:
    error = ANY_FAILURE[name]
    server.ends_streams = False
    if not inside:
        server.fail(error, verb="watch")
    async with running(informer(server)) as it:
        if inside:
            await until(lambda: server.open_watches == 1)
            server.send_error(error.status, error.reason, error.message)
        took = await seconds_until(lambda: it.has_synced)

        assert took < (2 if error.status >= 500 and not inside else 0.2)
        assert verbs(server)[:2] == ["stream", "list  500"]
        assert same(it, server)


async def test_an_error_of_a_stream_that_asks_for_a_pause_gets_it_before_the_list(
    server: FakeTransport,
) -> None:
    server.fail(TooManyRequests(status=429, retry_after=timedelta(seconds=3)), verb="watch")
    async with running(informer(server)) as it:
        took = await seconds_until(lambda: it.has_synced)

        assert 3 <= took < 5
        assert verbs(server)[:2] == ["stream", "list  500"]


async def test_a_connection_that_is_cut_for_streams_only_does_not_keep_the_state_away(
    server: FakeTransport,
) -> None:
    server.fail(TransportError("reset by a proxy"), verb="watch")
    async with running(informer(server)) as it:
        await it.wait_for_sync()

        assert verbs(server)[:2] == ["stream", "list  500"]


async def test_an_outage_does_not_use_up_the_streams(server: FakeTransport) -> None:
    server.fail(ApiError(status=500, reason="InternalError"), times=10**6)
    async with running(informer(server)) as it:
        await anyio.sleep(300)
        server.recover()
        await it.wait_for_sync()
        asked = len(server.requests)
        await anyio.sleep(1800)  # everything is compared now and then

        assert "stream" in verbs(server)[asked:]
