"""Waits that double with each failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Doubling"]


@dataclass(frozen=True, slots=True)
class Doubling:
    """How long to wait after so many failures in a row.

    Attributes:
        first: The wait after the first failure; more than zero.
        ceiling: The longest wait; it goes before *first*.
    """

    first: timedelta
    ceiling: timedelta

    def after(self, failures: int) -> timedelta:
        """The wait after *failures* failures in a row: *first*, doubled with each further one.

        Exact to the microsecond, for any number: fewer than one count as one.
        """
        doublings = max(failures, 1) - 1
        # Compared before it is multiplied, which could overflow.
        if (self.ceiling // self.first) >> doublings == 0:
            return self.ceiling
        return self.first * (1 << doublings)
