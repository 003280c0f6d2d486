"""Who stands in which slot: empty backends of the program that backends of the graph are put into."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError
from ingresskit.render.haproxy import SlotBackend, SlotClass
from ingresskit.render.haproxy.artifact import ALGORITHMS
from ingresskit.render.haproxy.program import slot_name

__all__ = ["USUAL_CLASSES", "PoolSettings", "Slots", "pool_sizes"]

_STEP = 8

USUAL_CLASSES: Final = tuple(
    SlotClass(algorithm=algorithm, retries=retries) for algorithm in ALGORITHMS for retries in range(11)
)
"""All classes there can be, but for those with a time of their own to connect in; see the policy `Retries`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How many slots a program gets.

    A slot takes 8 KB of HAProxy's memory (2.6, November 2026).

    Attributes:
        first: The least number of slots of the class that most backends have.
        others: The least number for each other class.
        low: Below this share of free slots in a class, the pool is filled up in the background.

    Raises:
        ConfigurationError: A number is below 1, or *low* is not between 0 and 0.5.
    """

    first: int = 256
    others: int = 8
    low: float = 0.25

    def __post_init__(self) -> None:
        check_settings(self, {"low": 0})
        if not 0 <= self.low < 0.5:
            raise ConfigurationError(f"low must be at least 0 and below 0.5, not {self.low}")


def pool_sizes(
    settings: PoolSettings,
    backends: Iterable[SlotBackend],
    classes: Iterable[SlotClass],
    before: Mapping[SlotClass, int],
    *,
    ready: Iterable[SlotClass] = (),
) -> Mapping[SlotClass, int]:
    """How many slots of each class a new program should have: twice those in use, and not fewer than least.

    Args:
        settings: The least numbers.
        backends: Those that will stand in slots.
        classes: Those that must be there even if nothing stands in them.
        before: The pools of the program before: they do not shrink while a quarter is in use.
        ready: Classes that must be known even if they have no slot yet: it can be made later.
    """
    used = Counter(backend.slot_class for backend in backends)
    sizes: dict[SlotClass, int] = {}
    for item in {*used, *classes, SlotClass()}:
        least = settings.first if item == SlotClass() else settings.others
        size = max(least, -(-2 * used[item] // _STEP) * _STEP)
        if size < before.get(item, 0) <= max(least, 4 * used[item]):
            size = before[item]
        sizes[item] = size
    for item in ready:
        sizes.setdefault(item, 0)
    return sizes


@dataclass(slots=True)
class Slots:
    """The slots of one program. A slot is free, held by a backend, or being emptied.

    Attributes:
        pools: How many there are of each class; another mapping when that changes.
        grows: Whether more can be made while the program runs, of the classes in *pools*.
    """

    pools: Mapping[SlotClass, int]
    grows: bool = False
    _free: dict[SlotClass, list[int]] = field(init=False)
    _held: dict[str, tuple[SlotClass, int]] = field(
        default_factory=dict[str, tuple[SlotClass, int]], init=False
    )
    _emptying: dict[str, tuple[SlotClass, int]] = field(
        default_factory=dict[str, tuple[SlotClass, int]], init=False
    )

    def __post_init__(self) -> None:
        self._free = {item: list(range(1, size + 1)) for item, size in self.pools.items()}

    @classmethod
    def filled(
        cls,
        pools: Mapping[SlotClass, int],
        backends: Iterable[SlotBackend],
        before: Slots | None = None,
        *,
        grows: bool = False,
    ) -> Slots:
        """Slots with all *backends* in them, each where it stood *before* if it can.

        Raises:
            ConfigurationError: There are fewer slots than backends.
        """
        made = cls(pools, grows)
        homeless: list[SlotBackend] = []
        for backend in backends:
            place = None if before is None else before.place(backend.id)
            if place is not None and place[0] == backend.slot_class and place[1] <= pools[place[0]]:
                made._held[backend.id] = place
            else:
                homeless.append(backend)
        taken = set(made._held.values())
        for item, size in pools.items():
            made._free[item] = [number for number in range(1, size + 1) if (item, number) not in taken]
        for backend in homeless:
            made.take(backend)
        return made

    def free(self, slot_class: SlotClass) -> int:
        """How many slots of a class are free; 0 when the program does not have the class."""
        return len(self._free.get(slot_class, ()))

    def fits(self, slot_class: SlotClass, count: int) -> bool:
        """Whether so many backends of a class can get a slot, be it one that is made for them."""
        return count <= self.free(slot_class) or (self.grows and slot_class in self.pools)

    def coming(self, slot_class: SlotClass) -> str:
        """The name of the slot that a class gets next, when it grows."""
        return slot_name(slot_class, self.pools[slot_class] + 1)

    def grow(self, slot_class: SlotClass) -> None:
        """There is one more slot, the one that was `coming`, and it is free."""
        number = self.pools[slot_class] + 1
        self.pools = {**self.pools, slot_class: number}
        heapq.heappush(self._free[slot_class], number)

    def place(self, backend: str) -> tuple[SlotClass, int] | None:
        """The class and the number of the slot that a backend stands in, by its id."""
        return self._held.get(backend)

    def of(self, backend: str) -> str | None:
        """The slot that a backend stands in, by its id."""
        place = self._held.get(backend)
        return None if place is None else slot_name(*place)

    def held(self) -> Mapping[str, str]:
        """The slots of all backends, by their ids."""
        return {backend: slot_name(*place) for backend, place in self._held.items()}

    def take(self, backend: SlotBackend) -> str:
        """Put a backend into a free slot, the one with the lowest number.

        A backend that holds a slot already gets another one; see `vacate` for the one it had.

        Raises:
            ConfigurationError: None is free.
        """
        free = self._free.get(backend.slot_class)
        if not free:
            raise ConfigurationError(f"no slot of class {backend.slot_class.id} is free")
        place = (backend.slot_class, heapq.heappop(free))
        self._held[backend.id] = place
        return slot_name(*place)

    def vacate(self, backend: str) -> str:
        """Take a backend out of its slot, which is not free before it is `emptied`. Returns the slot."""
        place = self._held.pop(backend)
        name = slot_name(*place)
        self._emptying[name] = place
        return name

    def emptied(self, slot: str) -> None:
        """A slot that was vacated has no server any more: it is free. Nothing happens to other slots."""
        if (place := self._emptying.pop(slot, None)) is not None:
            heapq.heappush(self._free[place[0]], place[1])

    def low(self, share: float) -> tuple[SlotClass, ...]:
        """The classes of which less than that share is free, those being emptied counted as free; sorted."""
        emptying = Counter(place[0] for place in self._emptying.values())
        found = (
            item for item, size in self.pools.items() if len(self._free[item]) + emptying[item] < share * size
        )
        return tuple(sorted(found, key=lambda item: item.id))
