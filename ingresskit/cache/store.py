"""What we believe the cluster holds of one kind.

One writer per namespace (a reflector), any number of readers, all on one event loop: a read is a plain
function call that never waits, and between two awaits of the reader nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

import anyio

from ingresskit.cache.decoding import DecodeFailure
from ingresskit.cache.versions import is_older
from ingresskit.errors import ConfigurationError
from ingresskit.models import KubeObject, ObjectKey
from ingresskit.models.history import History

__all__ = ["Change", "DeletedFinalStateUnknown", "IndexFunction", "Indexer", "Store"]

K = TypeVar("K", bound=KubeObject)

_OBJECTS = "objects"

# A late event of a deleted object is known by its uid and an older version. (A uid may come back: with a
# selector, an object that no longer matches is "deleted".) How many to remember: far more than can be in
# flight between two events of one watch.
_REMEMBERED_UIDS = 4096

IndexFunction = Callable[[K], Iterable[str]]
"""The values under which an object is found; none, one or several."""


# Without slots, so that `DeletedFinalStateUnknown[Service](…)` can be written in Python 3.11.
@dataclass(frozen=True)
class DeletedFinalStateUnknown(Generic[K]):
    """An object whose deletion was not seen happening: it was there, and in a later list it was not.

    Attributes:
        key: Its namespace and name.
        last: The object as it was last seen, which need not be how it ended.
    """

    key: ObjectKey
    last: K


@dataclass(frozen=True, slots=True)
class Change(Generic[K]):
    """One step of one key, passed to listeners after the store has taken it.

    Attributes:
        old: What was held; ``None`` for an object that is new.
        new: What is held now; ``None`` for one that has gone. Of the same uid as *old* if both are there.
        final: For one that has gone: how it ended.
    """

    key: ObjectKey
    old: K | None
    new: K | None
    final: K | DeletedFinalStateUnknown[K] | None = None


class Store(Generic[K]):
    """The objects of one kind by key. Immutable objects in, immutable views out."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, K] = {}
        self._view: Mapping[ObjectKey, K] | None = None
        self._history = History.begin()
        self._touched: set[ObjectKey] = set()  # since the last view was taken
        self._failures: dict[ObjectKey, DecodeFailure] = {}
        self._failures_view: Mapping[ObjectKey, DecodeFailure] | None = None
        self._gone: dict[str, str] = {}
        self._revision = 0
        self._changed = anyio.Event()
        self._listeners: list[Callable[[Change[K]], None]] = []

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self.keys())

    @property
    def revision(self) -> int:
        """Counts the changes, of objects and of failures."""
        return self._revision

    async def wait_changed(self, revision: int) -> None:
        """Return once `revision` is above *revision*."""
        while self._revision <= revision:
            await self._changed.wait()

    def get(self, key: ObjectKey) -> K | None:
        """The object with that key, or ``None``."""
        return self._objects.get(key)

    def keys(self) -> Sequence[ObjectKey]:
        """All keys, sorted."""
        return sorted(self._objects)

    def list(self) -> Sequence[K]:
        """All objects as of now, sorted by namespace, then name."""
        return [item for _, item in sorted(self._objects.items(), key=lambda entry: entry[0])]

    def snapshot(self) -> Mapping[ObjectKey, K]:
        """All objects by key, as of now and for ever: later changes do not show in it.

        The same mapping is returned until something changes, and unchanged objects are the same in all.
        Taking one costs nothing; the first change after it costs a copy of the keys.
        """
        if self._view is None:
            self._view = MappingProxyType(self._objects)
            self._history = self._history.next({_OBJECTS: frozenset(self._touched)})
            self._touched.clear()
        return self._view

    def history(self) -> History:
        """The history of the last `snapshot`; its one part holds the keys that changed."""
        return self._history

    def failures(self) -> Mapping[ObjectKey, DecodeFailure]:
        """The objects that are there and cannot be read, as of now. An older form of them may be held."""
        if self._failures_view is None:
            self._failures_view = MappingProxyType(dict(self._failures))
        return self._failures_view

    def subscribe(self, listener: Callable[[Change[K]], None]) -> Callable[[], None]:
        """Call *listener* for each change after it is made, in order. It must neither raise nor wait.

        Returns:
            What ends it.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # What follows is for the one that keeps the store: a reflector.

    def apply(self, item: K) -> bool:
        """Hold *item*, which a watch reported as added or modified.

        Late and doubled events change nothing: those of an object whose deletion was seen, and those with
        an older resource version than is held.

        Returns:
            Whether anything changed.
        """
        key, meta = item.key, item.metadata
        if self._is_late(meta.uid, meta.resource_version):
            return False
        old = self._objects.get(key)
        if old is not None and old.metadata.uid == meta.uid:
            held = old.metadata.resource_version
            if (held == meta.resource_version and held) or is_older(meta.resource_version, held):
                return self._publish(()) if self._clear_failure(key) else False
        elif old is not None and is_older(meta.resource_version, old.metadata.resource_version):
            return False  # of a former object with this name
        self._clear_failure(key)
        self._writable()[key] = item
        return self._publish(self._steps(key, old, item))

    def discard(self, key: ObjectKey, *, uid: str, resource_version: str, final: K | None) -> bool:
        """Drop the object that a watch reported as deleted; *final* is how it ended, if it can be read.

        Returns:
            Whether anything changed. Not when another object has the name by now, or the event is late.
        """
        if self._is_late(uid, resource_version):
            return False
        self._remember(uid, resource_version)
        failure = self._failures.get(key)
        cleared = failure is not None and failure.uid in ("", uid) and self._clear_failure(key)
        old = self._objects.get(key)
        if old is None or (uid and old.metadata.uid and old.metadata.uid != uid):
            return self._publish(()) if cleared else False
        if is_older(resource_version, old.metadata.resource_version):
            return False
        del self._writable()[key]
        return self._publish(
            [Change(key, old, None, DeletedFinalStateUnknown(key, old) if final is None else final)]
        )

    def fail(self, failure: DecodeFailure) -> bool:
        """Remember that an object cannot be read. Its last readable form stays, unless it is another's.

        Returns:
            Whether anything changed.
        """
        if self._is_late(failure.uid, failure.resource_version):
            return False
        if self._failures.get(failure.key) == failure:
            return False
        self._failures[failure.key] = failure
        self._failures_view = None
        old = self._objects.get(failure.key)
        if old is not None and failure.uid and old.metadata.uid and old.metadata.uid != failure.uid:
            del self._writable()[failure.key]
            return self._publish([Change(failure.key, old, None, DeletedFinalStateUnknown(failure.key, old))])
        return self._publish(())

    def replace(
        self,
        items: Iterable[K],
        failures: Iterable[DecodeFailure] = (),
        *,
        namespace: str = "",
        by_content: bool = False,
    ) -> bool:
        """Hold exactly these objects, all at once. Listeners hear of what is different, and of nothing else.

        An object is unchanged if uid and resource version are; the one that was held is kept.

        Args:
            items: All that the server has (of *namespace*).
            failures: Those that cannot be read: they count as present.
            namespace: Touch only this one; empty for all.
            by_content: Compare whole objects. After a restore of the cluster's database resource versions
                are used a second time.

        Returns:
            Whether anything changed.
        """
        self._gone.clear()
        old_objects = self._objects
        failed = {failure.key: failure for failure in failures}
        new_objects: dict[ObjectKey, K] = {}
        new_failures: dict[ObjectKey, DecodeFailure] = {}
        if namespace:
            new_objects = {key: item for key, item in old_objects.items() if key.namespace != namespace}
            new_failures = {key: it for key, it in self._failures.items() if key.namespace != namespace}
        steps: list[Change[K]] = []
        for item in items:
            key = item.key
            held = old_objects.get(key)
            if held is not None and (held == item if by_content else _same(held, item)):
                new_objects[key] = held
            else:
                new_objects[key] = item
                steps += self._steps(key, held, item)
        for key, failure in failed.items():
            held = old_objects.get(key)
            if held is not None and (not failure.uid or held.metadata.uid == failure.uid):
                new_objects.setdefault(key, held)
        for key, held in old_objects.items():
            if key not in new_objects:
                steps.append(Change(key, held, None, DeletedFinalStateUnknown(key, held)))
        new_failures.update(failed)
        if not steps and new_failures == self._failures:
            return False
        if steps:
            self._objects, self._view = new_objects, None
        self._failures, self._failures_view = new_failures, None
        return self._publish(steps)

    def _steps(self, key: ObjectKey, old: K | None, new: K) -> Sequence[Change[K]]:
        if old is not None and old.metadata.uid != new.metadata.uid:
            # Deleted and made again while nobody looked: two objects, though they have one name.
            gone = DeletedFinalStateUnknown(key, old)
            return (Change(key, old, None, gone), Change(key, None, new))
        return (Change(key, old, new),)

    def _writable(self) -> dict[ObjectKey, K]:
        if self._view is not None:
            self._objects, self._view = dict(self._objects), None
        return self._objects

    def _clear_failure(self, key: ObjectKey) -> bool:
        if self._failures.pop(key, None) is None:
            return False
        self._failures_view = None
        return True

    def _is_late(self, uid: str, version: str) -> bool:
        gone = self._gone.get(uid)
        if gone is None:
            return False
        if is_older(gone, version):
            del self._gone[uid]
            return False
        return True

    def _remember(self, uid: str, version: str) -> None:
        if uid:
            self._gone[uid] = version
            if len(self._gone) > _REMEMBERED_UIDS:
                del self._gone[next(iter(self._gone))]

    def _publish(self, steps: Iterable[Change[K]]) -> bool:
        self._revision += 1
        for step in steps:
            self._touched.add(step.key)
            self._index(step)
            for listener in self._listeners:
                listener(step)
        self._changed.set()
        self._changed = anyio.Event()
        return True

    def _index(self, step: Change[K]) -> None:
        """Nothing: a plain store has no indexes."""


class Indexer(Store[K]):
    """A store whose objects are found by other things than their names as well."""

    def __init__(self, indexers: Mapping[str, IndexFunction[K]] | None = None) -> None:
        super().__init__()
        self._functions: dict[str, IndexFunction[K]] = {}
        self._indexes: dict[str, dict[str, dict[ObjectKey, None]]] = {}
        self.add_indexers(indexers or {})

    def add_indexers(self, indexers: Mapping[str, IndexFunction[K]]) -> None:
        """Keep these indexes too. An index function must be pure; one that raises leaves the object out.

        Raises:
            ConfigurationError: There is an index of that name, or the store holds objects already.
        """
        if taken := sorted(self._functions.keys() & indexers.keys()):
            raise ConfigurationError(f"there is an index {taken[0]!r} already")
        if len(self) and indexers:
            raise ConfigurationError("indexes are added before the store holds objects")
        self._functions.update(indexers)
        self._indexes.update({name: {} for name in indexers})

    def by_index(self, name: str, value: str) -> Sequence[K]:
        """The objects that the index *name* files under *value*, sorted by namespace, then name.

        Raises:
            ConfigurationError: There is no such index.
        """
        if name not in self._indexes:
            raise ConfigurationError(
                f"there is no index {name!r}; there are {', '.join(self._indexes) or 'none'}"
            )
        keys = self._indexes[name].get(value, ())
        return [self._objects[key] for key in sorted(keys)]

    def index_values(self, name: str) -> Sequence[str]:
        """The values that the index *name* has objects for, sorted.

        Raises:
            ConfigurationError: There is no such index.
        """
        if name not in self._indexes:
            raise ConfigurationError(f"there is no index {name!r}")
        return sorted(self._indexes[name])

    def _index(self, step: Change[K]) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            if step.old is not None:
                for value in _values(function, step.old):
                    keys = index.get(value, {})
                    keys.pop(step.key, None)
                    if not keys:
                        index.pop(value, None)
            if step.new is not None:
                for value in _values(function, step.new):
                    index.setdefault(value, {})[step.key] = None


def _values(function: IndexFunction[K], item: K) -> Sequence[str]:
    try:
        return tuple(function(item))
    except Exception:  # noqa: BLE001 - not our code; a listener must not end the reflector
        return ()


def _same(old: KubeObject, new: KubeObject) -> bool:
    held, seen = old.metadata, new.metadata
    if held.uid != seen.uid:
        return False
    return bool(held.resource_version) and held.resource_version == seen.resource_version
