"""A limit on the requests of one client, as decisions: how many pass, and what the next one gets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limit"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Limit:
    """How many requests one client may send.

    Attributes:
        requests: So many pass in a while, and of those under way at a time where there is no while.
        seconds: The while: 1 or 60; 0: the limit is on requests under way.
        at_once: How many pass when all come at the same moment.
        status: What the next one gets.
    """

    requests: int
    seconds: int
    at_once: int
    status: int

    def __str__(self) -> str:
        """For people: ``"10 a second, 51 at once, then 429"``, ``"20 at a time, then 429"``."""
        if not self.seconds:
            return f"{self.at_once} at a time, then {self.status}"
        unit = "second" if self.seconds == 1 else "minute"
        return f"{self.requests} a {unit}, {self.at_once} at once, then {self.status}"
