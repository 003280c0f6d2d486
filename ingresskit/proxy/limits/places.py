"""Places that requests hold while they are under way: what limits of requests at a time count."""

from __future__ import annotations

from typing import Protocol

__all__ = ["HeldPlaces", "Places"]


class HeldPlaces(Protocol):
    """Counts who holds a place; `Places`, or those that several processes share."""

    def take(self, key: tuple[object, ...], most: int) -> bool:
        """Take one of *most* places. Whether there was one; whoever takes it calls `leave` once."""
        ...

    def leave(self, key: tuple[object, ...]) -> None:
        """Give a place back."""
        ...


class Places:
    """How many requests hold a place, by key. It knows keys of requests under way only."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], int] = {}

    def take(self, key: tuple[object, ...], most: int) -> bool:
        """Take one of *most* places. Whether there was one; whoever takes it calls `leave` once."""
        held = self._held.get(key, 0)
        if held >= most:
            return False
        self._held[key] = held + 1
        return True

    def leave(self, key: tuple[object, ...]) -> None:
        """Give a place back."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]

    def __len__(self) -> int:
        return len(self._held)
