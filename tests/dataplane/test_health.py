"""Endpoints that fail, endpoints that are full, and endpoints that are new, on every plane.

HAProxy and nginx leave all of it to their delegate.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest

from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.traffic import InProcessStatistics
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import FakeEndpoint, Seen, Wire, get, reply, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param != HAPROXY.name:
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


class Switch:
    """An endpoint that responds with its name, or with a failure."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: bytes = b""
        self.hold: asyncio.Event | None = None

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.hold is not None:
            await self.hold.wait()
        writer.write(self.failure or reply(self.name.encode()))


async def switches(stage: Stage, *names: str) -> tuple[list[Switch], list[FakeEndpoint]]:
    made = [Switch(name) for name in names]
    return made, [await stage.endpoint(one) for one in made]


async def asked(client: Wire, path: str = "/") -> tuple[int, str]:
    answer = await client.ask(get(path))
    return answer.status, answer.body.decode()


async def test_endpoint_that_fails_in_a_row_is_ejected_and_one_probe_brings_it_back(stage: Stage) -> None:
    (bad, good), endpoints = await switches(stage, "bad", "good")
    bad.failure = reply(status="503 Service Unavailable", body=b"bad")
    await stage.serve(*endpoints, annotations={"ejection-failures": "3", "ejection-time": "1s"})
    client = await stage.connect()

    first = [await asked(client) for _ in range(20)]
    failed = [status for status, _ in first].count(503)
    bad.failure = b""
    back = False
    async with asyncio.timeout(LONG):
        while not back:
            back = (await asked(client))[1] == "bad"
    after = Counter([(await asked(client))[1] for _ in range(20)])

    assert failed == 3
    assert first[-6:] == [(200, "good")] * 6
    assert after["bad"] == after["good"] == 10
    assert good.failure == b""


async def test_ejection_is_counted_and_named(stage: Stage) -> None:
    (bad, _), endpoints = await switches(stage, "bad", "good")
    bad.failure = reply(status="502 Bad Gateway", body=b"")
    await stage.serve(
        *endpoints,
        annotations={"ejection-failures": "1", "ejection-time": "1h", "ejection-longest-time": "1h"},
    )
    client = await stage.connect()
    name = f"127.0.0.1:{endpoints[0].port}"

    for _ in range(4):
        await asked(client)
    counts = stage.plane.statistics()
    if not isinstance(counts, InProcessStatistics):
        pytest.skip("the counts of the delegate are put together by the application")

    assert counts.unwell_endpoints() == {name: "ejected"}
    assert counts.ejections_in_use() == 1
    metrics = {family.name: family for family in counts.families()}
    assert sum(sample.value for sample in metrics["endpoints_unwell"].samples) == 1


async def test_ejected_endpoint_that_still_fails_gets_one_request_each_time(stage: Stage) -> None:
    (bad, _), endpoints = await switches(stage, "bad", "good")
    bad.failure = reply(status="502 Bad Gateway", body=b"")
    await stage.serve(
        *endpoints,
        annotations={"ejection-failures": "1", "ejection-time": "100ms", "ejection-longest-time": "200ms"},
    )
    client = await stage.connect()

    statuses: list[int] = []
    async with asyncio.timeout(LONG):
        while statuses.count(502) < 4:
            statuses.append((await asked(client))[0])

    # Never two failures in a row: each of them was a probe.
    assert all(one == 200 or other == 200 for one, other in pairwise(statuses))
    assert statuses.count(200) > 4


async def test_statuses_that_are_no_failures_eject_nobody(stage: Stage) -> None:
    (odd, _), endpoints = await switches(stage, "odd", "good")
    odd.failure = reply(status="500 Internal Server Error", body=b"")
    await stage.serve(*endpoints, annotations={"ejection-failures": "1"})
    client = await stage.connect()

    statuses = [(await asked(client))[0] for _ in range(10)]

    assert sorted(statuses) == [200] * 5 + [500] * 5


async def test_share_of_failures_ejects(stage: Stage) -> None:
    (bad, _), endpoints = await switches(stage, "bad", "good")
    bad.failure = reply(status="500 Internal Server Error", body=b"")
    await stage.serve(
        *endpoints,
        annotations={"ejection-ratio": "50%", "ejection-requests": "4", "ejection-on": "5xx"},
    )
    client = await stage.connect()

    statuses = [(await asked(client))[0] for _ in range(20)]

    assert statuses.count(500) == 4
    assert statuses[-10:] == [200] * 10


async def test_never_all_endpoints_are_ejected(stage: Stage) -> None:
    made, endpoints = await switches(stage, "a", "b", "c", "d")
    for one in made:
        one.failure = reply(status="502 Bad Gateway", body=one.name.encode())
    await stage.serve(*endpoints, annotations={"ejection-failures": "1", "ejection-limit": "100%"})
    client = await stage.connect()

    bodies = [(await asked(client))[1] for _ in range(12)]

    assert sorted(bodies[:4]) == ["a", "b", "c", "d"]
    assert len(set(bodies[4:])) == 1


async def test_ejection_outlives_changes_of_endpoints(stage: Stage) -> None:
    (bad, _, _), endpoints = await switches(stage, "bad", "good", "new")
    bad.failure = reply(status="502 Bad Gateway", body=b"")
    annotations = {"ejection-failures": "1", "ejection-time": "1h", "ejection-longest-time": "1h"}
    await stage.serve(*endpoints[:2], annotations=annotations)
    client = await stage.connect()
    before = [(await asked(client))[0] for _ in range(6)]
    bad.failure = b""

    await stage.serve(*endpoints, annotations=annotations)
    after = Counter([(await asked(client))[1] for _ in range(12)])

    assert before.count(502) == 1
    assert after == {"good": 6, "new": 6}


async def test_endpoint_whose_checks_fail_gets_no_requests_until_they_succeed(stage: Stage) -> None:
    (sick, _), endpoints = await switches(stage, "sick", "well")

    async def checked(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.line.startswith(b"GET /health "):
            writer.write(sick.failure or reply(b""))
        else:
            writer.write(reply(b"sick"))

    endpoints[0].answer = checked
    sick.failure = reply(status="500 Internal Server Error", body=b"")
    await stage.serve(
        *endpoints,
        annotations={
            "health-check": "/health",
            "health-check-interval": "1s",
            "health-check-failures": "1",
            "health-check-successes": "1",
            "health-check-statuses": "200-299",
        },
    )
    client = await stage.connect()

    async with asyncio.timeout(LONG):
        while {(await asked(client))[1] for _ in range(4)} != {"well"}:
            pass
        sick.failure = b""
        while {(await asked(client))[1] for _ in range(4)} != {"sick", "well"}:
            pass
    checks = [seen for seen in endpoints[0].seen if seen.line.startswith(b"GET /health ")]

    assert {seen.value("user-agent") for seen in checks} == {"ingresskit-health-check"}


async def test_requests_wait_for_a_full_endpoint_and_those_without_room_get_503(stage: Stage) -> None:
    (only,), endpoints = await switches(stage, "only")
    only.hold = asyncio.Event()
    await stage.serve(
        *endpoints,
        annotations={"endpoint-max-requests": "1", "endpoint-queue": "2", "endpoint-queue-timeout": "1h"},
    )
    first, *others = [await stage.connect() for _ in range(4)]
    await first.send(get("/first"))
    await until(lambda: len(endpoints[0].seen) == 1)

    answers = [asyncio.create_task(other.ask(get("/other"))) for other in others]
    async with asyncio.timeout(LONG):
        (turned_away,), waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    only.hold.set()
    served = [await first.answer(), *[await answer for answer in waiting]]

    assert (turned_away.result().status, turned_away.result().value("retry-after")) == (503, "1")
    assert [answer.status for answer in served] == [200, 200, 200]
    assert [seen.line.split()[1] for seen in endpoints[0].seen] == [b"/first", b"/other", b"/other"]


async def test_request_that_waited_in_vain_gets_503(stage: Stage) -> None:
    (only,), endpoints = await switches(stage, "only")
    only.hold = asyncio.Event()
    await stage.serve(
        *endpoints,
        annotations={"endpoint-max-requests": "1", "endpoint-queue": "5", "endpoint-queue-timeout": "200ms"},
    )
    first, second, third = [await stage.connect() for _ in range(3)]
    await first.send(get("/first"))
    await until(lambda: len(endpoints[0].seen) == 1)

    late = await second.ask(get("/second"))
    only.hold.set()
    done = await first.answer()
    after = await third.ask(get("/third"))

    assert (late.status, late.value("retry-after")) == (503, "1")
    assert (done.status, after.status) == (200, 200)
    assert [seen.line.split()[1] for seen in endpoints[0].seen] == [b"/first", b"/third"]


async def test_further_tries_stay_within_their_budget(stage: Stage) -> None:
    (bad, _), endpoints = await switches(stage, "bad", "good")
    bad.failure = reply(status="503 Service Unavailable", body=b"")
    await stage.serve(*endpoints, annotations={"retry-on": "error,503", "retry-budget": "0%"})
    client = await stage.connect()

    statuses = [(await asked(client))[0] for _ in range(16)]

    # Three are always within a budget.
    assert len(endpoints[0].seen) - statuses.count(503) == 3


async def test_new_endpoint_takes_requests_by_and_by(stage: Stage) -> None:
    made, endpoints = await switches(stage, "a", "b", "new")
    await stage.serve(*endpoints[:2], annotations={"slow-start": "1h"})
    client = await stage.connect()
    even = Counter([(await asked(client))[1] for _ in range(20)])

    await stage.serve(*endpoints, annotations={"slow-start": "1h"})
    async with asyncio.timeout(LONG):
        while (await asked(client))[1] != "new":
            pass
    later = Counter([(await asked(client))[1] for _ in range(200)])

    assert even == {"a": 10, "b": 10}
    # A tenth of a third is what it begins with; a third would be 67.
    assert 0 < later["new"] < 30
    assert len(made) == 3


async def test_connection_carries_no_more_requests_than_it_may(stage: Stage) -> None:
    (_,), endpoints = await switches(stage, "only")
    await stage.serve(*endpoints, annotations={"upstream-keepalive-requests": "3"})
    client = await stage.connect()

    for _ in range(9):
        assert (await asked(client))[0] == 200

    assert endpoints[0].connections == 3


async def test_no_idle_connection_is_kept_where_none_may_be(stage: Stage) -> None:
    (_,), endpoints = await switches(stage, "only")
    await stage.serve(*endpoints, annotations={"upstream-keepalive-connections": "0"})
    client = await stage.connect()

    for _ in range(4):
        assert (await asked(client))[0] == 200

    assert endpoints[0].connections == 4


@pytest.mark.parametrize("annotation", ["upstream-keepalive-time", "upstream-keepalive-timeout"])
async def test_connection_that_is_too_old_or_idle_is_not_used_again(stage: Stage, annotation: str) -> None:
    (_,), endpoints = await switches(stage, "only")
    await stage.serve(*endpoints, annotations={annotation: "1ms"})
    client = await stage.connect()

    await asked(client)
    async with asyncio.timeout(LONG):
        while endpoints[0].connections == 1:
            await asyncio.sleep(0.2)
            await asked(client)
