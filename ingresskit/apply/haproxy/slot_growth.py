"""Adds slots to a running program, where HAProxy takes new backends: 3.4 and later.

A new slot is like those that the program began with: empty, of one class, free. Nothing leads to it before
a backend is put there, so the remains of a failed attempt do no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ingresskit.apply.haproxy.cli import CommandRefused
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.haproxy.slots import Slots
from ingresskit.facts import fact_logger
from ingresskit.render.haproxy import SlotBackend, SlotClass

__all__ = ["make_slots", "shortage"]

_logger = fact_logger(__name__)


def shortage(slots: Slots, placed: Iterable[SlotBackend]) -> Mapping[SlotClass, int]:
    """How many slots of each class are missing for *placed*; empty when there is room for all."""
    wanted = Counter(item.slot_class for item in placed)
    lacking = {item: count - slots.free(item) for item, count in wanted.items()}
    return {item: count for item, count in lacking.items() if count > 0}


async def make_slots(api: RuntimeApi, slots: Slots, wanted: Mapping[SlotClass, int]) -> bool:
    """Make so many more slots of each class, in the worker and in *slots*.

    Returns:
        Whether all were made. When HAProxy refuses one, that worker is not asked again.

    Raises:
        Unreachable: HAProxy went away.
    """
    for slot_class, count in wanted.items():
        for _ in range(count):
            try:
                await api.add_backend(slots.coming(slot_class), slot_class.id)
            except CommandRefused as exc:
                slots.grows = False
                _logger.warning("haproxy makes no slots, reloads will", extra={"reason": str(exc)})
                return False
            slots.grow(slot_class)
    return True
