"""Putting a routing table live: one assignment, no connection touched."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from operator import is_, is_not
from typing import Protocol, TypeVar

from ingresskit.apply.plan import Dynamic, NoOp, Plan
from ingresskit.render.inprocess import RoutingTable

__all__ = ["InProcessApplier", "TableHolder", "swap_plan"]

K = TypeVar("K")

_ABSENT = object()  # a certificate may be None


class TableHolder(Protocol):
    """What serves routing tables; `ingresskit.proxy.Proxy` is one."""

    def swap(self, table: RoutingTable) -> None:
        """Serve *table* from the next request on. Requests under way keep what they began with."""
        ...


class InProcessApplier:
    """Hands each new routing table to a proxy in the same process."""

    def __init__(self, holder: TableHolder) -> None:
        self._holder = holder

    def plan(self, old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
        """Nothing when the tables are equal, else one swap."""
        return swap_plan(old, new)

    async def apply(self, plan: Plan[RoutingTable]) -> None:
        """Swap. Never fails."""
        if not isinstance(plan, NoOp):
            self._holder.swap(plan.artifact)


def swap_plan(old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
    """What it takes to serve *new* in place of *old*: nothing when they are equal, else one swap."""
    if old is not None and old == new:
        return NoOp()
    return Dynamic(artifact=new, summary=_summary(old or RoutingTable(), new))


def _summary(old: RoutingTable, new: RoutingTable) -> str:
    counts = {
        "hosts": _count(old.hosts, new.hosts),
        "backends": _count(old.backends, new.backends),
        "certificates": _count(old.certificates, new.certificates),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "settings"


def _count(old: Mapping[K, object], new: Mapping[K, object]) -> int:
    """How many keys came, went, or have another object; runs no Python per key."""
    if old is new:
        return 0
    if len(old) == len(new) and all(map(is_, old, new)):
        # The usual case, without a look-up: the hash of a key that is a tuple is not kept with it.
        return sum(map(is_not, old.values(), new.values()))
    same = sum(map(is_, map(old.get, new, repeat(_ABSENT)), new.values()))
    kept = sum(map(old.__contains__, new))
    return len(new) - same + len(old) - kept
