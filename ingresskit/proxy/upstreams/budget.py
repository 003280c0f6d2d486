"""How many further tries a backend may have, by how many requests it had. Pure; the caller has the clock.

Endpoints that fail because they are overloaded fail more when each request is tried again. The budget bounds
what further tries add.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ALWAYS", "BUDGET_WINDOW", "RetryBudget"]

BUDGET_WINDOW: Final = 10.0
"""Seconds, that requests and further tries are counted for; in whole seconds."""
ALWAYS: Final = 3
"""Further tries that are always within a budget: without them, few requests would have none at all."""

_SLOTS: Final = int(BUDGET_WINDOW)


class RetryBudget:
    """Requests and further tries of the last ten seconds.

    Args:
        percent: The most further tries in per cent of the requests; see `ALWAYS`.
    """

    __slots__ = ("_percent", "_requests", "_retries", "_second")

    def __init__(self, percent: int) -> None:
        self._percent = percent
        self._requests = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._second = 0

    def count_request(self, now: float) -> None:
        """A request began."""
        self._requests[self._slot(now)] += 1

    def allows(self, now: float) -> bool:
        """Whether another further try is within the budget."""
        self._slot(now)
        return sum(self._retries) < max(ALWAYS, self._percent * sum(self._requests) // 100)

    def count_retry(self, now: float) -> None:
        """A further try began."""
        self._retries[self._slot(now)] += 1

    def _slot(self, now: float) -> int:
        second = int(now)
        passed = min(second - self._second, _SLOTS)
        for step in range(passed):
            forgotten = (second - step) % _SLOTS
            self._requests[forgotten] = self._retries[forgotten] = 0
        self._second = max(second, self._second)
        return self._second % _SLOTS
