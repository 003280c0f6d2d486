"""One stretch of leadership, and the question that stands before every write: does it still last?"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Term"]


class Term:
    """Leadership from when it was won until it is given up or runs out. It never begins again.

    It ends by the clock alone: no message from anybody is needed. So a process that was stopped for ten
    minutes finds its term over at the first look, before any other code of it has run.
    """

    def __init__(self, *, identity: str, clock: Callable[[], float], valid_until: float) -> None:
        self._identity = identity
        self._clock = clock
        self._valid_until = valid_until
        self._ended = False

    def __repr__(self) -> str:
        return f"<Term of {self._identity}, {f'{self.remaining():.1f} s left' if self.is_valid() else 'over'}>"

    @property
    def identity(self) -> str:
        """Who leads."""
        return self._identity

    def is_valid(self) -> bool:
        """Whether this is still the leader. Ask directly before each write; never remember the result."""
        return not self._ended and self._clock() < self._valid_until

    def remaining(self) -> float:
        """For how many seconds it lasts unless it is renewed; 0 when it is over."""
        return 0.0 if self._ended else max(0.0, self._valid_until - self._clock())

    # What follows is for the elector.

    def prolong(self, valid_until: float) -> bool:
        """Let it last until then, at least. A term that is over stays so, and the result is false."""
        if not self.is_valid():
            self._ended = True
            return False
        self._valid_until = max(self._valid_until, valid_until)
        return True

    def end(self) -> None:
        """It is over."""
        self._ended = True
