"""Connections to names with several addresses: the first one that works is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

import pytest

from ingresskit.proxy.upstreams import pool
from ingresskit.proxy.upstreams.racing import alternated, first_of
from tests.unit.proxy.conftest import Stage, forward, get, until

pytestmark = pytest.mark.anyio


class Attempts:
    """Attempts that wait to be told how they end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.discarded: list[str] = []
        self.ends: dict[str, asyncio.Future[None]] = {}

    def named(self, *names: str) -> list[Callable[[], Coroutine[None, None, str]]]:
        return [partial(self._run, name) for name in names]

    async def _run(self, name: str) -> str:
        self.begun.append(name)
        self.ends[name] = asyncio.get_running_loop().create_future()
        try:
            await self.ends[name]
        except asyncio.CancelledError:
            self.ended.append(name)
            raise
        return name

    async def wait_begun(self, count: int) -> None:
        await until(lambda: len(self.begun) >= count)


async def test_next_attempt_begins_when_one_fails_and_the_first_that_works_is_it() -> None:
    made = Attempts()
    race = asyncio.ensure_future(first_of(made.named("a", "b", "c"), made.discarded.append, 3600))

    await made.wait_begun(1)
    made.ends["a"].set_exception(OSError("a"))
    await made.wait_begun(2)
    made.ends["b"].set_result(None)

    assert await race == "b"
    assert made.begun == ["a", "b"]


async def test_next_attempt_begins_after_the_delay_and_the_loser_is_cancelled() -> None:
    made = Attempts()
    race = asyncio.ensure_future(first_of(made.named("a", "b"), made.discarded.append, 0.001))

    await made.wait_begun(2)
    made.ends["b"].set_result(None)

    assert await race == "b"
    assert made.ended == ["a"]


async def test_two_that_work_at_once_give_one_and_the_other_is_discarded() -> None:
    made = Attempts()
    race = asyncio.ensure_future(first_of(made.named("a", "b"), made.discarded.append, 0.001))

    await made.wait_begun(2)
    for end in made.ends.values():
        end.set_result(None)

    assert {await race, *made.discarded} == {"a", "b"}


async def test_all_that_fail_raise_the_last_error_and_cancelling_ends_all() -> None:
    made = Attempts()
    race = asyncio.ensure_future(first_of(made.named("a", "b"), made.discarded.append, 3600))
    await made.wait_begun(1)
    made.ends["a"].set_exception(OSError("a"))
    await made.wait_begun(2)
    made.ends["b"].set_exception(OSError("b"))
    with pytest.raises(OSError, match=r"^b$"):
        await race

    other = Attempts()
    race = asyncio.ensure_future(first_of(other.named("a", "b"), other.discarded.append, 0.001))
    await other.wait_begun(2)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert sorted(other.ended) == ["a", "b"]


def test_families_take_turns_from_that_of_the_first() -> None:
    assert alternated(["::1", "::2", "10.0.0.1", "10.0.0.2", "::3"]) == [
        *("::1", "10.0.0.1", "::2", "10.0.0.2", "::3")
    ]
    assert alternated(["10.0.0.1"]) == ["10.0.0.1"]


async def test_name_whose_first_address_leads_nowhere_is_reached_by_its_second(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await stage.endpoint()

    async def look_up(_host: str, _port: int, _judge: object) -> list[str]:
        return ["::1", "127.0.0.1"]

    monkeypatch.setattr(pool, "permitted_addresses", look_up)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(get())

    assert answer.status == 200
    assert len(endpoint.seen) == 1
