"""Make again only what was made of another object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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
        self._given: Mapping[K, V] = {}
        self._made: dict[K, R] = {}
        self.changed: tuple[K, ...] = ()
        """The keys that the last call of `follow` made something for, in the order in which it saw them."""
        self.gone: tuple[K, ...] = ()
        """The keys that the call before had and the last one had not, in any order."""

    def follow(self, items: Mapping[K, V], changed: Collection[K] | None = None) -> Mapping[K, R]:
        """For each key of *items*, in its order, what was made of its value.

        Args:
            items: The values.
            changed: At least the keys whose values are other objects than in the call before, new, or gone:
                no other is looked at. ``None``: all are.

        Returns:
            The same object as the last time when the keys, their order and the values are the same objects.
            It is never changed afterwards.
        """
        if changed is not None:
            return self._follow_changed(items, changed)
        before = self._given
        made = self._made
        now: dict[K, R] = {}
        again: list[K] = []
        for key, value in items.items():
            if key in made and before[key] is value:
                now[key] = made[key]
            else:
                now[key] = self._make(value)
                again.append(key)
        gone = tuple(made.keys() - now.keys()) if len(made) + len(again) > len(now) else ()
        self.changed, self.gone = tuple(again), gone
        if again or gone or any(old != new for old, new in zip(made, now, strict=True)):
            self._given, self._made = dict(items), now
        return self._made

    def _follow_changed(self, items: Mapping[K, V], changed: Collection[K]) -> Mapping[K, R]:
        before, made = self._given, self._made
        again = [key for key in changed if key in items and not (key in made and before[key] is items[key])]
        remade = {key: self._make(items[key]) for key in again}
        self.gone = tuple(key for key in changed if key in made and key not in items)
        self.changed = tuple(again)
        self._given = items
        if again or self.gone:
            now = made.copy()
            for key in self.gone:
                del now[key]
            added = any(key not in now for key in again)
            now.update(remade)
            # In the order of *items*: one call that runs no Python per key.
            self._made = dict(zip(items, map(now.__getitem__, items), strict=True)) if added else now
        return self._made
