"""The subset of an artifact that can go live without a reload, while the rest waits for one. Pure.

A reload may have to wait, and one tenant made it necessary. The endpoints, certificates and hosts of all
others are followed until then: a host stays as it is served only when what it leads to needs something
that the program does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.render.haproxy import HaproxyArtifact, MapName, Pointer, SlotClass
from ingresskit.render.haproxy.tables import STREAMS

__all__ = ["servable_without_reload"]

_POLICY = "p"
_OF_HOSTS = (MapName.HOSTS, MapName.STREAMS)
_RESPOND = "respond-"
# The end of the keys in blocks of hosts that ask clients for certificates.
_CERTIFICATE = "/certificate"
# While a reload waits, a quarter of a class is for namespaces that have an eighth of it at most.
_RESERVED = 4
_FEW = 8


def servable_without_reload(live: WorkerState, new: HaproxyArtifact) -> HaproxyArtifact:
    """The most of *new* that *live* can serve without a reload; what it serves already where it cannot.

    Takes time in proportion to all that is served.
    """
    judge = _Judge(live, new)
    old = live.artifact
    pointers: dict[Pointer, str] = {}
    waiting = _waiting_streams(live, new)
    for pointer, value in new.pointers.items():
        held = old.pointers.get(pointer)
        if pointer.key in waiting and pointer.map in _OF_HOSTS:
            # TLS for the host would end here until the reload: it stays as it is.
            if held is not None:
                pointers[pointer] = held
        elif held == value or pointer.map is MapName.SPLITS or judge.admits(value):
            pointers[pointer] = value
        elif held is not None:
            pointers[pointer] = held
    reach = _Reach(new, old)
    for pointer, value in list(pointers.items()):
        if pointer.map in _OF_HOSTS:
            reach.follow(value)
    pointers = {
        pointer: value
        for pointer, value in pointers.items()
        if pointer.map in _OF_HOSTS or pointer.key in reach.splits
    }
    for split, layout in reach.splits.items():
        pointers[Pointer(MapName.SPLITS, split)] = layout
    if new.needs.handshakes != live.needs.handshakes:
        # Which names are in which lines of the list depends on it.
        new = replace(
            new,
            certificates=old.certificates,
            server_names=old.server_names,
            default_certificate=old.default_certificate,
        )
    backends = {item: new.backends.get(item) or old.backends[item] for item in sorted(reach.backends)}
    identities = {**old.identities, **new.identities}
    shown = {tls.identity for item in backends.values() if item.servers and (tls := item.servers[0].tls)}
    return replace(
        new,
        needs=live.needs,
        pointers=dict(sorted(pointers.items())),
        blocks={item: new.blocks.get(item) or old.blocks[item] for item in sorted(reach.blocks)},
        backends=backends,
        identities={digest: identities[digest] for digest in sorted(shown - {""})},
    )


def _waiting_streams(live: WorkerState, new: HaproxyArtifact) -> frozenset[str]:
    """The hosts whose connections the program would pass on, and cannot yet."""
    judge = _Judge(live, new)
    return frozenset(
        pointer.key
        for pointer, value in new.pointers.items()
        if pointer.map is MapName.STREAMS
        and live.artifact.pointers.get(pointer) != value
        and (STREAMS not in live.needs.features or not judge.admits(value))
    )


@dataclass(slots=True)
class _Judge:
    """Decides what the running program can serve; slots it has given away are gone."""

    live: WorkerState
    new: HaproxyArtifact
    _given: Counter[SlotClass] = field(default_factory=Counter[SlotClass])
    _admitted: set[str] = field(default_factory=set[str])
    _held: Counter[tuple[SlotClass, str]] = field(default_factory=Counter[tuple[SlotClass, str]])

    def __post_init__(self) -> None:
        """Count what namespaces have of each class."""
        self._held.update(
            (item.slot_class, item.key.namespace) for item in self.live.artifact.backends.values()
        )

    def admits(self, table: str) -> bool:
        """Whether a host can be given that table."""
        reach = _Reach(self.new, self.live.artifact)
        reach.follow(table)
        if not all(self._known(item) for item in reach.blocks):
            return False
        wanted = [
            item
            for item in reach.backends
            if item not in self.live.artifact.backends and item not in self._admitted
        ]
        classes = Counter(self.new.backends[item].slot_class for item in wanted)
        slots = self.live.slots
        if not all(slots.fits(item, count + self._given[item]) for item, count in classes.items()):
            return False
        tenants = Counter((self.new.backends[item].slot_class, self._namespace(item)) for item in wanted)
        if not all(self._leaves_room(item, classes[item[0]], count) for item, count in tenants.items()):
            return False
        self._given += classes
        self._held += tenants
        self._admitted.update(wanted)
        return True

    def _namespace(self, backend: str) -> str:
        return self.new.backends[backend].key.namespace

    def _leaves_room(self, tenant: tuple[SlotClass, str], count: int, own: int) -> bool:
        """Whether the last quarter of a class stays free, or goes to a namespace that has little of it."""
        slots = self.live.slots
        slot_class = tenant[0]
        size = slots.pools[slot_class]
        left = slots.free(slot_class) - self._given[slot_class] - count
        few = self._held[tenant] + own <= max(1, size // _FEW)
        return slots.grows or left >= size // _RESERVED or few

    def _known(self, block: str) -> bool:
        """Whether the program has all that a block needs."""
        if block in self.live.blocks:
            return True
        needs, wanted = self.live.needs, self.new.needs
        names = wanted.request_headers.keys() <= needs.request_headers.keys()
        names = names and wanted.response_headers.keys() <= needs.response_headers.keys()
        names = names and wanted.features.keys() <= needs.features.keys()
        if block.startswith(_POLICY):
            if needs.handshakes != wanted.handshakes and any(
                row.key.endswith(_CERTIFICATE) for row in self.new.blocks[block].rows
            ):
                return False
            # Which names a block has is in its rows, in words of the renderer's own: no new block, then.
            return names
        return all(
            int(kind.removeprefix(_RESPOND)) in needs.statuses
            for row in self.new.blocks[block].rows
            if (kind := row.value.partition("|")[0]).startswith(_RESPOND)
        )


@dataclass(slots=True)
class _Reach:
    """What a table leads to: in *new* where it is there, else in *old*."""

    new: HaproxyArtifact
    old: HaproxyArtifact
    blocks: set[str] = field(default_factory=set[str])
    backends: set[str] = field(default_factory=set[str])
    splits: dict[str, str] = field(default_factory=dict[str, str])

    def follow(self, block: str) -> None:
        """Add *block* and all behind it."""
        waiting = [block]
        while waiting:
            item = waiting.pop()
            if item not in self.blocks:
                self.blocks.add(item)
                waiting += self._behind(item)

    def _behind(self, block: str) -> Iterator[str]:
        held = self.new.blocks.get(block) or self.old.blocks[block]
        for row in held.rows:
            for word in row.value.split("|"):
                if self._has(word, self.new.backends, self.old.backends):
                    self.backends.add(word)
                elif self._has(word, self.new.blocks, self.old.blocks):
                    yield word
                else:
                    layout = self._layout(word)
                    if layout is not None:
                        self.splits[word] = layout
                        yield layout

    def _layout(self, split: str) -> str | None:
        pointer = Pointer(MapName.SPLITS, split)
        return self.new.pointers.get(pointer) or self.old.pointers.get(pointer)

    @staticmethod
    def _has(word: str, *planes: Mapping[str, object]) -> bool:
        return any(word in plane for plane in planes)
