"""Token buckets: what rate limits remember from one request to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

__all__ = ["Buckets", "TokenBuckets"]

_MOST_BUCKETS: Final = 32_768  # about 10 MB, with keys of a name and an address


class Buckets(Protocol):
    """Buckets of tokens by key; `TokenBuckets`, or those that several processes share."""

    @property
    def now(self) -> float:
        """As `Memory`."""
        ...

    @property
    def unix_time(self) -> float:
        """As `Memory`."""
        ...

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        """As `Memory`."""
        ...

    def take_all(self, buckets: Sequence[tuple[tuple[object, ...], float, int]]) -> bool:
        """As `Memory`."""
        ...


class TokenBuckets:
    """The buckets of the filters of one proxy process: `take` and `take_all` of their `Memory`.

    A bucket that was not used for longest is forgotten for a new one when there are too many, and is full
    when it is asked for again. With buckets that refill within minutes that is what it would have been.

    Args:
        clock: Seconds; never goes back.
        most: Buckets at a time.
    """

    __slots__ = ("_buckets", "_clock", "_most")

    def __init__(self, clock: Callable[[], float], most: int = _MOST_BUCKETS) -> None:
        self._clock = clock
        self._most = most
        # Tokens, and since when there are so many; in the order of their last use.
        self._buckets: dict[tuple[object, ...], tuple[float, float]] = {}

    @property
    def now(self) -> float:
        """As `Memory`."""
        return self._clock()

    @property
    def unix_time(self) -> float:
        """As `Memory`."""
        return time.time()

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        """As `Memory`."""
        now = self._clock()
        tokens = self._tokens(key, rate, burst, now)
        enough = tokens >= 1
        self._keep(key, tokens - 1 if enough else tokens, now)
        return enough

    def take_all(self, buckets: Sequence[tuple[tuple[object, ...], float, int]]) -> bool:
        """As `Memory`."""
        now = self._clock()
        found = [(key, self._tokens(key, rate, burst, now)) for key, rate, burst in buckets]
        enough = all(tokens >= 1 for _, tokens in found)
        for key, tokens in found:
            self._keep(key, tokens - 1 if enough else tokens, now)
        return enough

    def _tokens(self, key: tuple[object, ...], rate: float, burst: int, now: float) -> float:
        known = self._buckets.pop(key, None)
        return float(burst) if known is None else min(float(burst), known[0] + (now - known[1]) * rate)

    def _keep(self, key: tuple[object, ...], tokens: float, now: float) -> None:
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]

    def __len__(self) -> int:
        return len(self._buckets)
