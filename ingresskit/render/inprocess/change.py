"""The difference between two routing tables, for a process that has the first of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from ingresskit.graph import Backend, BackendKey, Certificate
from ingresskit.policies import PolicySet
from ingresskit.render.inprocess.table import HostTable, RoutingTable

__all__ = ["MapChange", "TableChange", "table_change"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapChange(Generic[KeyT, ValueT]):
    """The difference between two mappings.

    Attributes:
        put: What is new, or another object than before.
        gone: The keys that the second one lacks.
    """

    put: Mapping[KeyT, ValueT] = field(default_factory=dict[KeyT, ValueT])
    gone: tuple[KeyT, ...] = ()

    def applied(self, before: Mapping[KeyT, ValueT]) -> Mapping[KeyT, ValueT]:
        """The second mapping, made of the first; the first itself where they do not differ."""
        if not self.put and not self.gone:
            return before
        after = {**before, **self.put}
        for key in self.gone:
            after.pop(key, None)
        return after


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """What a process needs to make one routing table of another. It can be pickled.

    Attributes:
        rest: The second table without what the other fields say: its settings.
        hosts: See `RoutingTable`; so the next three.
    """

    rest: RoutingTable
    hosts: MapChange[str, HostTable] = field(default_factory=MapChange[str, HostTable])
    backends: MapChange[BackendKey, Backend] = field(default_factory=MapChange[BackendKey, Backend])
    certificates: MapChange[str, Certificate | None] = field(
        default_factory=MapChange[str, "Certificate | None"]
    )
    handshakes: MapChange[str, PolicySet] = field(default_factory=MapChange[str, PolicySet])

    def applied(self, before: RoutingTable) -> RoutingTable:
        """The second table, made of the first. What did not change is the same object in both."""
        return replace(
            self.rest,
            hosts=self.hosts.applied(before.hosts),
            backends=self.backends.applied(before.backends),
            certificates=self.certificates.applied(before.certificates),
            handshakes=self.handshakes.applied(before.handshakes),
        )


def table_change(before: RoutingTable, after: RoutingTable) -> TableChange:
    """What *after* has that *before* does not have, by identity: an equal object that was made anew is sent."""
    return TableChange(
        rest=replace(after, hosts={}, backends={}, certificates={}, handshakes={}),
        hosts=_change(before.hosts, after.hosts),
        backends=_change(before.backends, after.backends),
        certificates=_change(before.certificates, after.certificates),
        handshakes=_change(before.handshakes, after.handshakes),
    )


_MISSING = object()


def _change(before: Mapping[KeyT, ValueT], after: Mapping[KeyT, ValueT]) -> MapChange[KeyT, ValueT]:
    if before is after:
        return MapChange()
    look: Mapping[KeyT, object] = before
    put = {key: value for key, value in after.items() if look.get(key, _MISSING) is not value}
    # Only where keys are gone there are fewer than both together have.
    added = sum(key not in before for key in put)
    gone = () if len(before) + added == len(after) else tuple(key for key in before if key not in after)
    return MapChange(put=put, gone=gone)
