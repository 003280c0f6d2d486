"""When a request is tried again, and for how long; on every plane, with a delegate where it needs one."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane import test_requests
from tests.dataplane.stage import LONG, Stage
from tests.dataplane.test_endpoint_faults import POST, leave, say_nothing
from tests.unit.proxy.conftest import FakeEndpoint, get, reply

pytestmark = pytest.mark.anyio

# Programs that cannot do all of it have their delegate there.
plane = test_requests.plane
BUSY = reply(b"busy", status="503 Service Unavailable")


async def _statuses(stage: Stage, request: bytes = get()) -> list[int]:
    client = await stage.connect()
    async with asyncio.timeout(LONG):
        return [(await client.ask(request)).status for _ in range(4)]


def _sums(*endpoints: FakeEndpoint) -> list[int]:
    return [len(endpoint.seen) for endpoint in endpoints]


async def test_a_status_causes_another_try_and_no_other_does(stage: Stage) -> None:
    busy, good = await stage.endpoint(BUSY), await stage.endpoint()
    await stage.serve(busy, good, annotations={"retry-on": "error, 503", "retries": "2"})
    assert await _statuses(stage) == [200] * 4
    assert busy.seen
    assert len(good.seen) == 4

    await stage.serve(busy, good, annotations={"retry-on": "error, 502"})

    assert 503 in await _statuses(stage)


async def test_the_response_of_the_last_try_is_passed_on(stage: Stage) -> None:
    busy, other = await stage.endpoint(BUSY), await stage.endpoint(BUSY)
    await stage.serve(busy, other, annotations={"retry-on": "503", "retries": "5"})
    client = await stage.connect()

    answer = await client.ask(get())

    assert (answer.status, answer.body) == (503, b"busy")
    assert _sums(busy, other) == [1, 1]


async def test_what_may_not_be_repeated_is_repeated_only_where_the_route_says_so(stage: Stage) -> None:
    busy, good = await stage.endpoint(BUSY), await stage.endpoint()
    await stage.serve(busy, good, annotations={"retry-on": "503"})
    assert sorted(await _statuses(stage, POST)) == [200, 200, 503, 503]

    await stage.serve(busy, good, annotations={"retry-on": "503, non-idempotent"})

    assert await _statuses(stage, POST) == [200] * 4
    assert {seen.body for seen in good.seen} == {b"hi"}


async def test_a_connection_that_ends_is_no_cause_where_the_route_names_others(stage: Stage) -> None:
    bad, good = await stage.endpoint(leave), await stage.endpoint()
    await stage.serve(bad, good, annotations={"retry-on": "503"})

    assert 502 in await _statuses(stage)


async def test_silence_causes_another_try_where_the_route_says_so(stage: Stage) -> None:
    silent, good = await stage.endpoint(say_nothing), await stage.endpoint()
    annotations = {"retry-on": "error, timeout", "read-timeout": "150ms", "retries": "2"}
    await stage.serve(silent, good, annotations=annotations)

    assert await _statuses(stage) == [200] * 4
    assert silent.seen


async def test_no_try_begins_after_the_time_for_them(stage: Stage) -> None:
    silent, good = await stage.endpoint(say_nothing), await stage.endpoint()
    annotations = {"retry-on": "error, timeout", "read-timeout": "200ms", "retry-timeout": "50ms"}
    await stage.serve(silent, good, annotations=annotations)

    statuses = await _statuses(stage)

    assert 504 in statuses
    assert len(silent.seen) + len(good.seen) == 4


async def test_a_request_ends_when_its_whole_time_is_over(stage: Stage) -> None:
    silent = await stage.endpoint(say_nothing)
    await stage.serve(silent, annotations={"request-timeout": "150ms", "retries": "0"})
    client = await stage.connect()

    async with asyncio.timeout(LONG):
        assert (await client.ask(get())).status == 504
