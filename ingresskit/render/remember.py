"""Make again only what was made of another object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

__all__ = ["Remembered"]

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Remembered(Generic[K, V, R]):
    """``make(value)`` for each key of successive mappings, made again only where the value is another object.

    Args:
        make: A pure function. What it raises comes out of `follow`, which then remembers what it did before.
    """

    __slots__ = ("_given", "_made", "_make", "changed", "gone")

    def __init__(self, make: Callable[[V], R]) -> None:
        self._make = make
        self._given: dict[K, V] = {}
        self._made: dict[K, R] = {}
        self.changed: tuple[K, ...] = ()
        """The keys that the last call of `follow` made something for, in the order of its mapping."""
        self.gone: tuple[K, ...] = ()
        """The keys that the call before had and the last one had not, in any order."""

    def follow(self, items: Mapping[K, V]) -> Mapping[K, R]:
        """For each key of *items*, in its order, what was made of its value.

        Returns:
            The same object as the last time when the keys, their order and the values are the same objects.
            It is never changed afterwards.
        """
        before = self._given
        made = self._made
        now: dict[K, R] = {}
        changed: list[K] = []
        for key, value in items.items():
            if key in made and before[key] is value:
                now[key] = made[key]
            else:
                now[key] = self._make(value)
                changed.append(key)
        gone = tuple(made.keys() - now.keys()) if len(made) + len(changed) > len(now) else ()
        self.changed, self.gone = tuple(changed), gone
        if changed or gone or any(old != new for old, new in zip(made, now, strict=True)):
            self._given, self._made = dict(items), now
        return self._made
