"""What all virtual hosts contribute together, kept from one graph to the next.

A host that changes costs what it contributes: what others do is not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from ingresskit.graph import DEFAULT_PATHS, Backend, BackendKey, PathOptions, VirtualHost
from ingresskit.policies import Order, Origin, PolicySet
from ingresskit.render.counted import CountedMap, FirstMap
from ingresskit.render.haproxy.artifact import Block, Handshakes, MapName, Needs, Pointer, Server, SlotClass
from ingresskit.render.haproxy.policies import SettingRow
from ingresskit.render.haproxy.prefixes import range_prefixes
from ingresskit.render.haproxy.route_row import SHARE_DIGITS
from ingresskit.render.haproxy.tables import HostPart, Split, host_part, make_block
from ingresskit.render.remember import Remembered

__all__ = ["RoutesKeeper"]

NO_HANDSHAKES: Final = Handshakes()
_SHARES: Final = 16**SHARE_DIGITS
_ZEROS: Final = "0" * (16 - SHARE_DIGITS)
_NOTHING: Final = HostPart(pointer=Pointer(MapName.HOSTS, ""), table="")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a split shares requests among its backends: the row that leads to it, and its rows."""

    pointers: Mapping[Pointer, str]
    blocks: Mapping[str, Block]


class RoutesKeeper:
    """Follows the virtual hosts of successive graphs, and which backends have servers.

    Attributes:
        backends: What routes forward to: the key and the class, by id.
        changed_backends: The ids of those that came or went in the last call of `follow`.
    """

    def __init__(self) -> None:
        self._parts: Remembered[str, VirtualHost, HostPart] = Remembered(self._part)
        self._given: Mapping[BackendKey, Backend] = {}
        self._held: dict[str, HostPart] = {}
        self._pointers = CountedMap[Pointer, str]()
        self._blocks = CountedMap[str, Block]()
        self._backends = CountedMap[str, tuple[BackendKey, SlotClass]]()
        self._splits = CountedMap[str, Split]()
        self._classes = FirstMap[str, tuple[SlotClass, Origin]]()
        self._statuses = FirstMap[int, Origin]()
        self._request_headers = FirstMap[str, Origin]()
        self._response_headers = FirstMap[str, Origin]()
        self._features = FirstMap[str, Origin]()
        self._orders = FirstMap[Order, Origin]()
        self._layouts: dict[str, _Layout] = {}
        self._laid_out: dict[str, Split] = {}
        self._by_backend: dict[BackendKey, set[str]] = {}
        self.backends: Mapping[str, tuple[BackendKey, SlotClass]] = {}
        self.changed_backends: frozenset[str] = frozenset()

    def follow(
        self,
        hosts: Mapping[str, VirtualHost],
        changed: Collection[str] | None,
        servers: Mapping[BackendKey, tuple[Server, ...]],
        moved: Iterable[BackendKey],
        backends: Mapping[BackendKey, Backend] = MappingProxyType({}),
    ) -> None:
        """Let *hosts* be those that contribute.

        Args:
            hosts: The virtual hosts by host.
            changed: At least those that are other objects than in the call before; ``None``: all may be.
            servers: The servers of each backend.
            moved: At least the backends whose servers are others than in the call before.
            backends: Those that have policies, of which a class of slots may be made.

        Raises:
            RenderError: A row of a host cannot be written; nothing has changed then.
        """
        self._given = backends
        parts = self._parts.follow(hosts, changed)
        for name in (*self._parts.changed, *self._parts.gone):
            before, after = self._held.pop(name, _NOTHING), parts.get(name, _NOTHING)
            self._replace(name, before, after)
            if after is not _NOTHING:
                self._held[name] = after
        self.changed_backends = frozenset(self._backends.touched)
        self.backends = self._backends.mapping()
        self._lay_out(servers, moved)

    @property
    def pointers(self) -> Mapping[Pointer, str]:
        """From each host to its table, and from each split to its layout."""
        return self._pointers.mapping()

    @property
    def blocks(self) -> Mapping[str, Block]:
        """All blocks, by id."""
        return self._blocks.mapping()

    def needs(
        self,
        *,
        host_fallthrough: bool,
        paths: PathOptions = DEFAULT_PATHS,
        handshakes: Handshakes = NO_HANDSHAKES,
    ) -> Needs:
        """What a program must have for them."""
        return Needs(
            classes=dict(self._classes.mapping().values()),
            statuses=self._statuses.mapping(),
            request_headers=self._request_headers.mapping(),
            response_headers=self._response_headers.mapping(),
            features=self._features.mapping(),
            orders=self._orders.mapping(),
            handshakes=handshakes,
            host_fallthrough=host_fallthrough,
            paths=paths,
        )

    def _part(self, host: VirtualHost) -> HostPart:
        return host_part(host, self._policies_of)

    def _policies_of(self, key: BackendKey) -> PolicySet:
        backend = self._given.get(key)
        return PolicySet() if backend is None else backend.policies

    def _replace(self, name: str, before: HostPart, after: HostPart) -> None:
        if _pointer(before) != _pointer(after):
            # The same key with another value: an owner gives up what it had first.
            self._pointers.replace(_pointer(before), {})
            self._pointers.replace({}, _pointer(after))
        self._blocks.replace(before.blocks, after.blocks)
        self._backends.replace(before.backends, after.backends)
        self._splits.replace(before.splits, after.splits)
        self._classes.replace(name, after.classes)
        self._statuses.replace(name, after.statuses)
        self._request_headers.replace(name, after.request_headers)
        self._response_headers.replace(name, after.response_headers)
        self._features.replace(name, after.features)
        self._orders.replace(name, after.orders)

    def _lay_out(self, servers: Mapping[BackendKey, tuple[Server, ...]], moved: Iterable[BackendKey]) -> None:
        """Lay out the splits that are new, or one of whose backends has other servers."""
        stale = {split for key in moved for split in self._by_backend.get(key, ())} | self._splits.touched
        splits = self._splits.mapping()
        for name in stale:
            known, split = self._laid_out.pop(name, None), splits.get(name)
            for share in () if known is None else known.shares:
                users = self._by_backend.get(share.key, set())
                users.discard(name)
                if not users:
                    self._by_backend.pop(share.key, None)
            before, after = self._layouts.pop(name, _NO_LAYOUT), _NO_LAYOUT
            if split is not None:
                after = self._layouts[name] = _layout(split, servers)
                self._laid_out[name] = split
                for share in split.shares:
                    self._by_backend.setdefault(share.key, set()).add(name)
            if before != after:
                self._pointers.replace(before.pointers, {})
                self._pointers.replace({}, after.pointers)
                self._blocks.replace(before.blocks, after.blocks)


_NO_LAYOUT: Final = _Layout({}, {})


def _pointer(part: HostPart) -> Mapping[Pointer, str]:
    if part is _NOTHING:
        return {}
    if part.stream:
        return {part.pointer: part.table, Pointer(MapName.STREAMS, part.pointer.key): part.stream}
    return {part.pointer: part.table}


def _layout(split: Split, servers: Mapping[BackendKey, tuple[Server, ...]]) -> _Layout:
    """How a split shares requests among those of its backends that have servers."""
    usable = [
        (name, share.weight)
        for name, share in zip(split.backends, split.shares, strict=True)
        if servers[share.key]
    ]
    total = sum(weight for _, weight in usable)
    bounds = [0]
    for _, weight in usable:
        bounds.append(bounds[-1] + weight)
    rows: list[SettingRow] = []
    for (name, _), (first, end) in zip(usable, pairwise(bounds), strict=True):
        first, end = (round(bound * _SHARES / total) for bound in (first, end))
        prefixes = range_prefixes(first, end, SHARE_DIGITS)
        # HAProxy writes a number as 16 digits.
        rows += ((MapName.SHARES, _ZEROS + prefix, name) for prefix in prefixes)
    block = make_block("l", rows)
    return _Layout({Pointer(MapName.SPLITS, split.id): block.id}, {block.id: block})
