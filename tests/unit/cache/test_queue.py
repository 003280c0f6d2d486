"""What the work queue promises to its workers."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from ingresskit.cache import QueueShutDown, WorkQueue
from ingresskit.errors import ConfigurationError
from tests.unit.cache.virtual_time import seeded

pytestmark = pytest.mark.anyio


async def drained(queue: WorkQueue[str]) -> list[str]:
    """What is given out now, in order."""
    keys: list[str] = []
    while len(queue):
        async with queue.get() as key:
            keys.append(key)
    return keys


async def test_many_adds_while_it_waits_are_one_run() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)

    assert await drained(queue) == ["a", "b"]


async def test_many_adds_while_it_is_worked_are_one_more_run_and_never_beside() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    async with queue.get():
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        with anyio.move_on_after(5) as scope:
            async with queue.get():
                pytest.fail("worked twice at once")
        assert scope.cancelled_caught

    assert await drained(queue) == ["a"]


async def test_the_highest_priority_is_first_and_of_equals_the_first() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key, priority in [("low", -1), ("a", 0), ("b", 0), ("high", 5), ("low", 3)]:
        queue.add(key, priority=priority)

    assert await drained(queue) == ["high", "low", "a", "b"]


async def test_the_earliest_of_several_delays_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    began = anyio.current_time()
    for seconds in (30, 10, 20):
        queue.add_after("a", timedelta(seconds=seconds))
    async with queue.get() as key:
        assert (key, round(anyio.current_time() - began, 3)) == ("a", 10)

    await anyio.sleep(60)
    assert len(queue) == 0


async def test_an_add_overtakes_a_delay() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", timedelta(seconds=30), priority=2)
    queue.add("a")
    queue.add("b", priority=1)
    assert await drained(queue) == ["a", "b"]

    await anyio.sleep(60)
    assert queue.statistics()["delayed"] == 0


async def test_retries_of_a_key_double_until_it_is_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waits: list[float] = []
    for _ in range(20):
        began = anyio.current_time()
        queue.add_rate_limited("a")
        async with queue.get():
            waits.append(round(anyio.current_time() - began, 4))
    assert waits[:4] == [0.005, 0.01, 0.02, 0.04]
    assert waits[-1] == 1000
    assert queue.num_requeues("a") == 20

    queue.forget("a")
    assert queue.num_requeues("a") == 0


async def test_retries_of_all_keys_share_a_rate() -> None:
    queue: WorkQueue[str] = WorkQueue(rate=10, burst=100)
    began = anyio.current_time()
    for number in range(150):
        queue.add_rate_limited(f"k{number}")
    for _ in range(150):
        async with queue.get():
            pass

    assert round(anyio.current_time() - began, 2) == 5.0


async def test_a_key_is_never_with_two_workers_and_none_is_lost() -> None:
    queue: WorkQueue[int] = WorkQueue()
    rng = seeded(3)
    working: set[int] = set()
    wanted = dict.fromkeys(range(10), 0)
    seen = dict.fromkeys(range(10), 0)

    async def worker() -> None:
        try:
            while True:
                async with queue.get() as key:
                    assert key not in working
                    working.add(key)
                    seen[key] = wanted[key]
                    await anyio.sleep(rng.random())
                    working.discard(key)
        except QueueShutDown:
            pass

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(worker)
        for _ in range(300):
            key = rng.randrange(10)
            wanted[key] += 1
            queue.add(key, priority=rng.randrange(3))
            await anyio.sleep(rng.random() / 4)
        queue.shut_down()

    assert seen == wanted


async def test_shutting_down_with_draining_gives_out_what_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add_after("later", timedelta(seconds=5))
    queue.shut_down()
    queue.add("b")

    assert await drained(queue) == ["a"]
    with pytest.raises(QueueShutDown):
        async with queue.get():
            pass


async def test_shutting_down_without_draining_drops_what_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.shut_down(drain=False)

    with pytest.raises(QueueShutDown):
        async with queue.get():
            pass


async def test_waiting_for_idleness_waits_for_the_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    done: list[str] = []

    async def worker() -> None:
        async with queue.get() as key:
            await anyio.sleep(5)
            done.append(key)

    async with anyio.create_task_group() as group:
        group.start_soon(worker)
        await queue.wait_idle()

        assert done == ["a"]


def test_rates_must_be_more_than_zero() -> None:
    with pytest.raises(ConfigurationError):
        WorkQueue[str](rate=0)
