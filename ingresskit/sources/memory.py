"""Objects held in memory: for tests, and for programs that make their own."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.sources.base import SnapshotStore

__all__ = ["MemorySource"]


class MemorySource:
    """A source whose objects you apply and delete yourself, before and while it runs."""

    def __init__(self, objects: Iterable[KubeObject] = ()) -> None:
        self._store = SnapshotStore()
        self._store.replace(objects)

    def apply(self, *objects: KubeObject) -> None:
        """Hold these objects, in place of those with the same kind and key. One snapshot for all of them."""
        self._store.update(apply=objects)

    def delete(self, kind: type[KubeObject], namespace: str, name: str) -> None:
        """Drop an object; one that is not there is no error."""
        self._store.update(delete=[(kind, ObjectKey(namespace, name))])

    def replace(self, objects: Iterable[KubeObject]) -> None:
        """Hold exactly these objects."""
        self._store.replace(objects)

    def snapshot(self) -> Snapshot | None:
        """What is held now; never ``None``."""
        return self._store.snapshot()

    async def wait_changed(self, revision: int) -> None:
        """Return once the snapshot's revision is above *revision*."""
        await self._store.wait_changed(revision)

    async def run(self) -> None:
        """Nothing to do; returns when cancelled."""
        await anyio.sleep_forever()
