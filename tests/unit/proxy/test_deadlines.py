"""Deadlines come when they are due, and only then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ingresskit.proxy.deadlines import NEVER, Deadlines
from tests.unit.proxy.conftest import until

pytestmark = pytest.mark.anyio


class Item:
    def __init__(self, deadlines: Deadlines, *, faulty: bool = False) -> None:
        self.deadline = NEVER
        self.bucket: int | None = None
        self.passed: list[float] = []
        self._deadlines = deadlines
        self._faulty = faulty

    def deadline_passed(self) -> None:
        self.passed.append(self._deadlines.now())
        if self._faulty:
            raise RuntimeError("this item is faulty")


async def test_each_comes_once_and_not_before_its_time() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    begin = deadlines.now()
    items = [Item(deadlines) for _ in range(20)]
    for number, item in enumerate(items):
        deadlines.set(item, begin + number * 0.01)

    await until(lambda: all(item.passed for item in items))
    deadlines.close()

    assert [len(item.passed) for item in items] == [1] * 20
    assert all(item.passed[0] >= begin + number * 0.01 - 0.001 for number, item in enumerate(items))


async def test_one_that_was_moved_or_forgotten_does_not_come_at_its_old_time() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    begin = deadlines.now()
    moved, forgotten, never, last = (Item(deadlines) for _ in range(4))
    for item in (moved, forgotten, never):
        deadlines.set(item, begin + 0.05)
    deadlines.set(moved, begin + 0.2)
    deadlines.set(never, NEVER)
    deadlines.forget(forgotten)
    deadlines.set(last, begin + 0.3)

    await until(lambda: bool(last.passed))
    deadlines.close()

    assert moved.passed[0] >= begin + 0.2
    assert (forgotten.passed, never.passed) == ([], [])


async def test_a_fault_of_one_keeps_no_other_from_its_time() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    deadlines = Deadlines(loop)
    faulty = [Item(deadlines, faulty=True) for _ in range(3)]
    others = [Item(deadlines) for _ in range(3)]
    now = deadlines.now()

    for item in (*faulty, *others):
        deadlines.set(item, now + 0.01)
    await until(lambda: all(item.passed for item in (*faulty, *others)))
    loop.set_exception_handler(before)
    deadlines.close()

    assert [str(context["exception"]) for context in told] == ["this item is faulty"] * 3
