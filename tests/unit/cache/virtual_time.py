"""Event loops on which waiting takes no time: the clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import trio.testing

T = TypeVar("T")

START = 1000.0


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def backend(name: str) -> tuple[str, dict[str, Any]]:
    """The backend with a virtual clock, as anyio's plugin takes it."""
    if name == "asyncio":
        return name, {"loop_factory": VirtualLoop}
    return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}


def run(main: Callable[[], Awaitable[T]], name: str = "asyncio") -> T:
    backend_name, options = backend(name)
    return anyio.run(main, backend=backend_name, backend_options=options)


def seeded(seed: int) -> random.Random:
    """Randomness that is the same each time."""
    return random.Random(seed)  # noqa: S311 - a test's dice
