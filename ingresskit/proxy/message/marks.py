"""What filters leave at a request until it is over."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Marks"]


class Marks:
    """The places that a request holds, and what would have refused it.

    Args:
        leave: Gives a place back.

    Attributes:
        held: The keys of its places.
        shadow: The stages that would have refused it.
    """

    __slots__ = ("_leave", "held", "shadow")

    def __init__(self, leave: Callable[[tuple[object, ...]], None]) -> None:
        self._leave = leave
        self.held: tuple[tuple[object, ...], ...] = ()
        self.shadow: tuple[str, ...] = ()

    def end(self) -> None:
        """The request is over: give its places back. Once is enough; more do no harm."""
        held, self.held = self.held, ()
        for key in held:
            self._leave(key)
