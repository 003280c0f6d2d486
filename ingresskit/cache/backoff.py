"""How long to wait before trying again."""

from __future__ import annotations

import random
from datetime import timedelta

import anyio

from ingresskit._doubling import Doubling
from ingresskit.errors import ConfigurationError

__all__ = ["Backoff"]


class Backoff:
    """Pauses that double, with a random part as large as the sure part, and begin anew after a quiet time.

    A pause is between one and two times the base; the base begins at *initial*, doubles, and ends where
    twice the base is *ceiling*. So pauses of many clients spread over their whole length, as with full
    jitter, yet no two attempts of one client are ever close together.

    Source: the figures of client-go's reflector (0.8 s, doubling, jitter of 1.0, anew after two minutes),
    whose reason they give: a server that restarts meets every client at once.
    """

    def __init__(
        self,
        *,
        initial: timedelta = timedelta(milliseconds=800),
        ceiling: timedelta = timedelta(seconds=30),
        reset_after: timedelta = timedelta(minutes=2),
        rng: random.Random | None = None,
    ) -> None:
        """Begin with *initial*.

        Raises:
            ConfigurationError: *initial* is not more than zero, or *ceiling* is not at least twice that.
        """
        if initial <= timedelta(0) or ceiling < 2 * initial:
            raise ConfigurationError(
                f"a back-off from {initial} to {ceiling} cannot double: the ceiling must be twice the start"
            )
        self._waits = Doubling(initial, ceiling / 2)
        self._reset_after = reset_after.total_seconds()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._failures = 0
        self._last_end = float("-inf")

    def reset(self) -> None:
        """Begin anew."""
        self._failures = 0

    def pause(self, *, at_least: timedelta | None = None, at_most: timedelta | None = None) -> timedelta:
        """How long to wait now, on the clock of the event loop.

        Args:
            at_least: What the server asked for; a second at most is added, so that not all come back at once.
            at_most: A lower ceiling for this time. *at_least* goes before it.
        """
        now = anyio.current_time()
        if now - self._last_end > self._reset_after:
            self.reset()
        self._failures += 1
        seconds = self._waits.after(self._failures).total_seconds() * (1 + self._rng.random())
        if at_most is not None:
            seconds = min(seconds, at_most.total_seconds())
        if at_least is not None:
            seconds = max(seconds, at_least.total_seconds() + self._rng.random())
        self._last_end = now + seconds
        return timedelta(seconds=seconds)
