"""One mapping made of what many owners contribute, kept while they come, change and go."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

__all__ = ["CountedMap", "FirstMap"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class CountedMap(Generic[KeyT, ValueT]):
    """A mapping for contributions in which equal keys have equal values.

    A change costs as much as the owner contributes, and one copy of pointers.
    """

    __slots__ = ("_extra", "_held", "_shown", "touched")

    def __init__(self) -> None:
        self._held: dict[KeyT, ValueT] = {}
        # How many owners contribute a key beyond the first: nearly all keys have one.
        self._extra: dict[KeyT, int] = {}
        self._shown: Mapping[KeyT, ValueT] = {}
        self.touched: set[KeyT] = set()
        """The keys that came or went since `mapping` was last called; some may be as before."""

    def replace(self, before: Mapping[KeyT, ValueT], after: Mapping[KeyT, ValueT]) -> None:
        """Let an owner contribute *after*, where it contributed *before*; an empty mapping is nothing."""
        if before is after:
            return
        for key, value in after.items():
            if key in self._held:
                self._extra[key] = self._extra.get(key, 0) + 1
            else:
                self._held[key] = value
                self.touched.add(key)
        for key in before:
            extra = self._extra.pop(key, 0)
            if extra > 1:
                self._extra[key] = extra - 1
            elif not extra:
                del self._held[key]
                self.touched.add(key)

    def mapping(self) -> Mapping[KeyT, ValueT]:
        """All of it; the same object until a key came or went. It is never changed afterwards."""
        if self.touched:
            self._shown = self._held.copy()
            self.touched = set()
        return self._shown


class FirstMap(Generic[KeyT, ValueT]):
    """A mapping for contributions of which, where keys are equal, that of the first owner counts.

    Made for few keys: each holds the names of all owners that contribute it, in order.
    """

    __slots__ = ("_owners", "_shown", "_stale", "_values")

    def __init__(self) -> None:
        self._owners: dict[KeyT, list[str]] = {}
        self._values: dict[str, Mapping[KeyT, ValueT]] = {}
        self._shown: Mapping[KeyT, ValueT] = {}
        self._stale: bool = False

    def replace(self, owner: str, after: Mapping[KeyT, ValueT]) -> None:
        """Let *owner* contribute *after*; an empty mapping is nothing."""
        before: Mapping[KeyT, ValueT] = self._values.get(owner, {})
        if before == after:
            return
        for key in before.keys() - after.keys():
            owners = self._owners[key]
            index = bisect_left(owners, owner)
            del owners[index]
            self._stale = self._stale or index == 0
            if not owners:
                del self._owners[key]
        for key, value in after.items():
            owners = self._owners.setdefault(key, [])
            if key not in before:
                insort(owners, owner)
            if owners[0] == owner:
                self._stale = self._stale or before.get(key) != value
        if after:
            self._values[owner] = after
        else:
            del self._values[owner]

    def mapping(self) -> Mapping[KeyT, ValueT]:
        """All of it; the same object until it is different. It is never changed afterwards."""
        if self._stale:
            self._stale = False
            shown = {key: self._values[owners[0]][key] for key, owners in self._owners.items()}
            if shown != self._shown:
                self._shown = shown
        return self._shown
