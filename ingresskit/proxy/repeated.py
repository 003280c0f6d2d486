"""Warnings that would repeat: one at a time, and a count of the others."""

from __future__ import annotations

from typing import Final

__all__ = ["WARNING_INTERVAL", "Repeated"]

WARNING_INTERVAL: Final = 60.0
"""Seconds between two warnings of one kind."""


class Repeated:
    """Lets one warning through at a time, and counts the others.

    Attributes:
        left_out: Not let through since the last one that was.
    """

    __slots__ = ("_next", "left_out")

    def __init__(self) -> None:
        self._next = float("-inf")
        self.left_out: int = 0

    def is_due(self, now: float) -> bool:
        """Whether to warn *now*, of the loop's clock; the caller reports `left_out` and resets it."""
        if now < self._next:
            self.left_out += 1
            return False
        self._next = now + WARNING_INTERVAL
        return True
