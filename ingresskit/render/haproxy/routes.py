"""What all virtual hosts contribute together, kept from one graph to the next.

Five thousand contributions take longer to put together than one takes to make. So hosts are put into
buckets by their names; a host that changes costs its bucket, and putting the buckets together.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ingresskit.graph import DEFAULT_PATHS, BackendKey, PathOptions, VirtualHost
from ingresskit.policies import Order, Origin
from ingresskit.render.haproxy.artifact import Block, Needs, Pointer, SlotClass
from ingresskit.render.haproxy.tables import HostPart, Split, host_part
from ingresskit.render.remember import Remembered

__all__ = ["Routes", "RoutesKeeper"]

K = TypeVar("K")
V = TypeVar("V")

_BUCKETS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """What some virtual hosts contribute together.

    Attributes:
        pointers: From each host to its table.
        blocks, backends, splits, classes, statuses: As in `HostPart`.
        request_headers, response_headers, orders: The same.
    """

    pointers: dict[Pointer, str] = field(default_factory=dict[Pointer, str])
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    backends: dict[str, tuple[BackendKey, SlotClass]] = field(
        default_factory=dict[str, tuple[BackendKey, SlotClass]]
    )
    splits: dict[str, Split] = field(default_factory=dict[str, Split])
    classes: dict[str, tuple[SlotClass, Origin]] = field(default_factory=dict[str, tuple[SlotClass, Origin]])
    statuses: dict[int, Origin] = field(default_factory=dict[int, Origin])
    request_headers: dict[str, Origin] = field(default_factory=dict[str, Origin])
    response_headers: dict[str, Origin] = field(default_factory=dict[str, Origin])
    orders: dict[Order, Origin] = field(default_factory=dict[Order, Origin])

    def needs(self, *, host_fallthrough: bool, paths: PathOptions = DEFAULT_PATHS) -> Needs:
        """What a program must have for them."""
        return Needs(
            classes=dict(self.classes.values()),
            statuses=self.statuses,
            request_headers=self.request_headers,
            response_headers=self.response_headers,
            orders=self.orders,
            host_fallthrough=host_fallthrough,
            paths=paths,
        )


class RoutesKeeper:
    """Follows the virtual hosts of successive graphs."""

    def __init__(self) -> None:
        self._parts: Remembered[str, VirtualHost, HostPart] = Remembered(host_part)
        self._held: list[dict[str, HostPart]] = [{} for _ in range(_BUCKETS)]
        self._buckets: list[Routes] = [Routes()] * _BUCKETS
        self._routes = Routes()

    def follow(self, hosts: Mapping[str, VirtualHost], changed: Collection[str] | None = None) -> Routes:
        """What *hosts* contribute; the same object as before when they are the same objects.

        Args:
            hosts: The virtual hosts by host.
            changed: At least those that are other objects than in the call before; ``None``: all may be.

        Raises:
            RenderError: A row of one cannot be written.
        """
        parts = self._parts.follow(hosts, changed)
        # Nothing is remembered of a graph that cannot be expressed: the above raises before this.
        touched = set(map(_bucket, self._parts.changed))
        for name in self._parts.changed:
            self._held[_bucket(name)][name] = parts[name]
        for name in self._parts.gone:
            touched.add(_bucket(name))
            del self._held[_bucket(name)][name]
        if touched:
            for number in touched:
                held = self._held[number]
                self._buckets[number] = _of_hosts([held[name] for name in sorted(held)])
            self._routes = _together(self._buckets)
        return self._routes


def _bucket(host: str) -> int:
    return zlib.crc32(host.encode()) % _BUCKETS


def _of_hosts(parts: Sequence[HostPart]) -> Routes:
    return Routes(
        pointers={part.pointer: part.table for part in parts},
        blocks=_last(part.blocks for part in parts),
        backends=_last(part.backends for part in parts),
        splits=_last(part.splits for part in parts),
        classes=_first(part.classes for part in parts),
        statuses=_first(part.statuses for part in parts),
        request_headers=_first(part.request_headers for part in parts),
        response_headers=_first(part.response_headers for part in parts),
        orders=_first(part.orders for part in parts),
    )


def _together(buckets: Sequence[Routes]) -> Routes:
    return Routes(
        pointers=_last(item.pointers for item in buckets),
        blocks=_last(item.blocks for item in buckets),
        backends=_last(item.backends for item in buckets),
        splits=_last(item.splits for item in buckets),
        classes=_first(item.classes for item in buckets),
        statuses=_first(item.statuses for item in buckets),
        request_headers=_first(item.request_headers for item in buckets),
        response_headers=_first(item.response_headers for item in buckets),
        orders=_first(item.orders for item in buckets),
    )


def _last(items: Iterable[Mapping[K, V]]) -> dict[K, V]:
    """All mappings in one, where equal keys have equal values."""
    found: dict[K, V] = {}
    for item in items:
        found.update(item)
    return found


def _first(items: Iterable[Mapping[K, V]]) -> dict[K, V]:
    """All mappings in one; of several values for a key, that of the first mapping that has it."""
    found: dict[K, V] = {}
    for item in items:
        for key, value in item.items():
            if key not in found:
                found[key] = value
    return found
