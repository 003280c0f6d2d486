"""The objects, and every change to them, under one counter of revisions: what etcd is to the real server.

Three promises carry everything else:

1. one write, one revision: the counter goes up by one for each change of any object;
2. the history is complete from the compacted revision on, so the state at any later revision can be
   worked out backwards from the present, and a watch can start at any of them;
3. what was stored is never changed in place, so an object may be handed out and encoded once.

All methods may be called from any thread.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ingresskit.testing.apiserver.manifests import Manifest, encode

__all__ = ["Change", "ChangeType", "Compacted", "Key", "ResourceKey", "Store", "Stored"]

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for cluster-wide objects) and name."""

ResourceKey: TypeAlias = tuple[str, str]
"""Group and plural."""


class Compacted(Exception):
    """Raised when a revision is asked for that the history no longer covers.

    Attributes:
        asked: The revision asked for.
        oldest: The oldest one there is.
    """

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is gone, the oldest is {oldest}")
        self.asked = asked
        self.oldest = oldest


class ChangeType(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Stored:
    """One object at one revision. Treat *manifest* as frozen.

    Attributes:
        key: Its namespace and name.
        revision: The revision of the write.
        manifest: The object without ``kind`` and ``apiVersion``, with its ``resourceVersion``.
    """

    __slots__ = ("_body", "key", "manifest", "revision")

    def __init__(self, key: Key, revision: int, manifest: Manifest) -> None:
        self.key: Key = key
        self.revision: int = revision
        self.manifest: Manifest = manifest
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The JSON of the manifest; encoded once."""
        if self._body is None:
            self._body = encode(self.manifest)
        return self._body


@dataclass(frozen=True, slots=True)
class Change:
    """One write.

    Attributes:
        revision: Its revision.
        type: What happened.
        old: The object before; ``None`` when it was added.
        new: The object after; for a deletion the last state, under the revision of the deletion.
    """

    revision: int
    type: ChangeType
    old: Stored | None
    new: Stored


def _order(key: Key) -> str:
    # etcd sorts the text of the whole key: "a-b/x" comes before "a/x".
    return f"{key[0]}/{key[1]}"


class Store:
    """Objects by resource and key, with history.

    Args:
        history_limit: How many changes of one resource are kept. Older ones are compacted away, as
            the watch cache of the real server forgets. At least 1.
    """

    def __init__(self, *, history_limit: int = 100_000) -> None:
        self.lock: threading.RLock = threading.RLock()
        self._limit = history_limit
        self._revision = 1
        self._compacted = 0
        self._trimmed = 0
        self._objects: dict[ResourceKey, dict[Key, Stored]] = {}
        self._history: dict[ResourceKey, list[Change]] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def revision(self) -> int:
        """The revision of the last write."""
        return self._revision

    @property
    def compacted(self) -> int:
        """The newest revision whose changes may be gone: watches may start at it, not before it."""
        return self._compacted

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* after every change of the revision, on the thread of the writer."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """No longer call *listener*."""
        self._listeners.remove(listener)

    def get(self, resource: ResourceKey, key: Key) -> Stored | None:
        """The object there is now, or ``None``."""
        return self._objects.get(resource, {}).get(key)

    def items(self, resource: ResourceKey, namespace: str | None = None) -> list[Stored]:
        """The objects there are now, in etcd's order; of one namespace if given."""
        with self.lock:
            return self._sorted(self._objects.get(resource, {}), namespace)

    def items_at(self, resource: ResourceKey, namespace: str | None, revision: int) -> list[Stored]:
        """The objects there were at *revision*, in etcd's order.

        Raises:
            Compacted: The history does not reach back to it.
            ValueError: It lies in the future.
        """
        with self.lock:
            if revision < self._compacted:
                raise Compacted(revision, self._compacted)
            if revision > self._revision:
                raise ValueError(f"revision {revision} is not there yet")
            then = dict(self._objects.get(resource, {}))
            for change in reversed(self._since(resource, revision)):
                if change.old is None:
                    del then[change.new.key]
                else:
                    then[change.new.key] = change.old
            return self._sorted(then, namespace)

    def changes(self, resource: ResourceKey, after: int, *, following: bool = False) -> list[Change]:
        """The changes of one resource with a revision above *after*, oldest first.

        Args:
            resource: Whose.
            after: The last revision known.
            following: Whether a watch that is open already asks: compacting does not hurt those, only
                a history that has run over does.

        Raises:
            Compacted: Some of them are gone.
        """
        with self.lock:
            oldest = self._trimmed if following else self._compacted
            if after < oldest:
                raise Compacted(after, oldest)
            return self._since(resource, after)

    def put(self, resource: ResourceKey, key: Key, manifest: Manifest) -> Stored:
        """Store *manifest*, which gets its ``resourceVersion`` here and must not be touched afterwards."""
        with self.lock:
            revision = self._revision + 1
            manifest["metadata"]["resourceVersion"] = str(revision)
            objects = self._objects.setdefault(resource, {})
            old = objects.get(key)
            new = objects[key] = Stored(key, revision, manifest)
            kind = ChangeType.ADDED if old is None else ChangeType.MODIFIED
            self._record(resource, Change(revision, kind, old, new))
            return new

    def remove(self, resource: ResourceKey, key: Key, manifest: Manifest | None = None) -> Stored:
        """Remove an object, and return its last state under the revision of the removal.

        Args:
            resource: Whose object it is.
            key: Which one.
            manifest: The last state to report, if it differs from the stored one. Not touched.

        Raises:
            KeyError: It is not there.
        """
        with self.lock:
            old = self._objects[resource].pop(key)
            last = dict(manifest if manifest is not None else old.manifest)
            revision = self._revision + 1
            last["metadata"] = {**last["metadata"], "resourceVersion": str(revision)}
            gone = Stored(key, revision, last)
            self._record(resource, Change(revision, ChangeType.DELETED, old, gone))
            return gone

    def advance(self, count: int = 1) -> int:
        """Let *count* revisions pass in which nothing here changes, and return the new revision."""
        with self.lock:
            self._revision += count
            self._notify()
            return self._revision

    def compact(self, revision: int | None = None) -> int:
        """Forget all changes up to *revision* (default: all there are), and return the compacted revision."""
        with self.lock:
            until = self._revision if revision is None else min(revision, self._revision)
            self._compacted = max(self._compacted, until)
            return self._compacted

    def restore(self, revision: int) -> None:
        """Go back to the state at *revision*, counter included, as after restoring a backup of etcd.

        Later writes reuse the numbers of the revisions undone. Nobody is told: a restore is no change.

        Raises:
            Compacted: The history does not reach back to it.
            ValueError: It lies in the future.
        """
        with self.lock:
            then = {
                resource: {item.key: item for item in self.items_at(resource, None, revision)}
                for resource in self._objects
            }
            for changes in self._history.values():
                del changes[self._place(changes, revision) :]
            self._objects = then
            self._revision = revision

    def _record(self, resource: ResourceKey, change: Change) -> None:
        history = self._history.setdefault(resource, [])
        history.append(change)
        self._revision = change.revision
        if len(history) > self._limit:
            # A quarter at once: trimming one by one would cost the whole list each time.
            cut = max(1, self._limit // 4)
            self._trimmed = max(self._trimmed, history[cut - 1].revision)
            self._compacted = max(self._compacted, self._trimmed)
            del history[:cut]
        self._notify()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _since(self, resource: ResourceKey, revision: int) -> list[Change]:
        history = self._history.get(resource, [])
        return history[self._place(history, revision) :]

    @staticmethod
    def _place(changes: list[Change], revision: int) -> int:
        return bisect_right(changes, revision, key=lambda change: change.revision)

    @staticmethod
    def _sorted(objects: dict[Key, Stored], namespace: str | None) -> list[Stored]:
        keys = [key for key in objects if namespace is None or key[0] == namespace]
        return [objects[key] for key in sorted(keys, key=_order)]
