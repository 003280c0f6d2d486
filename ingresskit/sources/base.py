"""What a source is, and the store that most sources write into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import anyio

from ingresskit.errors import DecodeError
from ingresskit.models import KubeObject, ObjectKey, Snapshot

__all__ = ["SnapshotStore", "Source"]


class Source(Protocol):
    """Where the controller's objects come from.

    A source is level-based: it always holds the latest snapshot and says when there is a newer one.
    Intermediate states may be skipped; the last one never is.
    """

    async def run(self) -> None:
        """Keep the snapshot up to date until cancelled. Called once, by one task.

        Raises:
            SourceError: It cannot deliver at all, and trying again will not help.
        """
        ...

    def snapshot(self) -> Snapshot | None:
        """What is known now; ``None`` until everything has been read once, so that no reader acts on half."""
        ...

    async def wait_changed(self, revision: int) -> None:
        """Return once `snapshot` has a revision above *revision*. Any number of tasks may wait."""
        ...


class SnapshotStore:
    """Holds objects and makes snapshots of them that share whatever did not change.

    One task writes; reads are safe from any thread, because snapshots are immutable. Writing an
    object that equals the one held changes nothing and wakes nobody.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._revision = 0
        self._changed = anyio.Event()

    def snapshot(self) -> Snapshot | None:
        """The latest snapshot; ``None`` before the first `replace` or `update`."""
        return self._snapshot

    def replace(self, objects: Iterable[KubeObject], problems: Iterable[DecodeError] = ()) -> bool:
        """Hold exactly these objects; of two with the same kind and key the later one.

        Returns:
            Whether anything changed. Always true for the first call.
        """
        held = self._snapshot or Snapshot()
        kinds = dict(Snapshot.of(objects).objects)
        changed: dict[type[KubeObject], frozenset[ObjectKey]] = {}
        for kind in kinds.keys() | held.objects.keys():
            old, new = held.objects.get(kind, {}), kinds.get(kind, {})
            kinds[kind] = merged = _shared(old, new)
            if merged is not old:
                keys = {key for key, item in merged.items() if old.get(key) is not item}
                changed[kind] = frozenset(keys | (old.keys() - merged.keys()))
        return self._publish(kinds, changed, tuple(sorted(set(problems), key=str)))

    def update(
        self,
        apply: Iterable[KubeObject] = (),
        delete: Iterable[tuple[type[KubeObject], ObjectKey]] = (),
    ) -> bool:
        """Hold these objects too, or in place of those with the same key, and drop the others named.

        Returns:
            Whether anything changed. Always true for the first call.
        """
        held = self._snapshot or Snapshot()
        writers: dict[type[KubeObject], _Writer] = {}
        for item in apply:
            kind = type(item)
            if kind not in writers:
                writers[kind] = _Writer(held.objects.get(kind, {}))
            writers[kind].put(item)
        for kind, key in delete:
            if kind not in writers:
                writers[kind] = _Writer(held.objects.get(kind, {}))
            writers[kind].drop(key)
        written = {kind: writer.objects() for kind, writer in writers.items()}
        changed = {kind: writer.changed() for kind, writer in writers.items()}
        return self._publish({**held.objects, **written}, changed, held.problems)

    async def wait_changed(self, revision: int) -> None:
        """Return once the snapshot's revision is above *revision*."""
        while self._revision <= revision:
            await self._changed.wait()

    def _publish(
        self,
        kinds: dict[type[KubeObject], Mapping[ObjectKey, KubeObject]],
        changed: Mapping[type[KubeObject], frozenset[ObjectKey]],
        problems: tuple[DecodeError, ...],
    ) -> bool:
        held = self._snapshot
        kinds = {kind: objects for kind, objects in kinds.items() if objects}
        if held is not None and problems == held.problems and kinds.keys() == held.objects.keys():
            if all(kinds[kind] is held.objects[kind] for kind in kinds):
                return False
        before = held or Snapshot()
        self._snapshot = before.succeeded_by(kinds, changed, problems=problems)
        self._revision = self._snapshot.revision
        self._changed.set()
        self._changed = anyio.Event()
        return True


class _Writer:
    """Changes a few of the objects of a kind, of which there may be thousands."""

    def __init__(self, held: Mapping[ObjectKey, KubeObject]) -> None:
        self._held = held
        self._written: dict[ObjectKey, KubeObject | None] = {}

    def put(self, item: KubeObject) -> None:
        before = self._held.get(item.key)
        self._written[item.key] = before if before == item else item

    def drop(self, key: ObjectKey) -> None:
        self._written[key] = None

    def changed(self) -> frozenset[ObjectKey]:
        """The keys of those that are different, new or gone."""
        return frozenset(key for key, item in self._written.items() if self._held.get(key) is not item)

    def objects(self) -> Mapping[ObjectKey, KubeObject]:
        """All of them; what was held when nothing is different."""
        written = {key: self._written[key] for key in self.changed()}
        if not written:
            return self._held
        merged: dict[ObjectKey, KubeObject] = dict(self._held)
        for key, item in written.items():
            if item is None:
                del merged[key]
            else:
                merged[key] = item
        return merged


def _shared(
    old: Mapping[ObjectKey, KubeObject], new: Mapping[ObjectKey, KubeObject]
) -> Mapping[ObjectKey, KubeObject]:
    """*new*, keeping every object of *old* that is equal, and *old* itself when all are."""
    merged = {key: old[key] if old.get(key) == item else item for key, item in new.items()}
    if len(merged) == len(old) and all(old.get(key) is item for key, item in merged.items()):
        return old
    return merged
