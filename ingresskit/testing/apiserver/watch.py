"""What one watch is told: the events of a selection from a revision on, without a gap.

A session is a cursor into the history of the store. It holds no events and no task: whoever sends
them asks for what is new when the store has changed.

Source: kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingresskit.testing.apiserver.manifests import Manifest, encode
from ingresskit.testing.apiserver.reads import (
    check_options,
    number,
    selection_of,
    shown,
    shown_body,
    version_of,
)
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.requests import Asked
from ingresskit.testing.apiserver.statuses import StatusError, expired, too_large_version
from ingresskit.testing.apiserver.store import Change, ChangeType, Compacted, Key, Store, Stored
from ingresskit.testing.apiserver.tables import Form

__all__ = ["INITIAL_END", "WatchEvent", "WatchSession"]

INITIAL_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends the initial events."""

_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event as it is sent.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK``, ``ERROR``, or what a fault makes of it.
        object: The JSON of the object.
        key: Namespace and name; empty for bookmarks and errors.
        revision: Its revision; 0 for errors.
    """

    type: str
    object: bytes
    key: Key = ("", "")
    revision: int = 0

    @property
    def line(self) -> bytes:
        """The event as a line of the stream."""
        return b'{"type":' + encode(self.type) + b',"object":' + self.object + b"}\n"

    @classmethod
    def error(cls, error: StatusError) -> WatchEvent:
        """The event that says that the watch cannot go on."""
        return cls("ERROR", encode(error.manifest()))


class WatchSession:
    """One watch.

    Args:
        store: What is watched.
        resource: Whose objects.
        asked: The request.
        watch_list: Whether ``sendInitialEvents`` is understood.
        form: In what form objects are sent; ``None`` for as they are.

    Attributes:
        timeout: Seconds after which the server ends the watch.
        bookmarks: Whether the client takes bookmarks.

    Raises:
        StatusError: 400, 422, 410 or 504: the request cannot be served.
    """

    def __init__(
        self, store: Store, resource: Resource, asked: Asked, *, watch_list: bool, form: Form | None = None
    ) -> None:
        check_options(asked.query, watch=True, watch_list=watch_list)
        self._form = form
        self._has_columns = False
        self._store = store
        self._resource = resource
        self._selection = selection_of(resource, asked)
        self.timeout: float = float(number(asked.query, "timeoutSeconds") or _LONGEST_SECONDS)
        self.bookmarks: bool = _truth(asked.query.get("allowWatchBookmarks"))
        wants_initial = asked.query.get("sendInitialEvents")
        try:
            version = version_of(asked.query)
        except StatusError as exc:
            # The real server lets this one through to the storage, which answers in its own way.
            message = exc.message.removeprefix("invalid resource version: ")
            raise StatusError(500, "", message) from None
        self._initial: list[WatchEvent] = []
        with store.lock:
            current = store.revision
            self._cursor = self._known = current
            if _truth(wants_initial) and (version or 0) > current:
                raise too_large_version(version or 0, current)
            if _truth(wants_initial) or (wants_initial is None and not version):
                self._initial = [
                    self._event("ADDED", item, item.revision)
                    for item in store.items(resource.stored_as, self._selection.namespace)
                    if self._selects(item)
                ]
                if _truth(wants_initial) and self.bookmarks:
                    self._initial.append(self._bookmark(current, initial_end=True))
            elif version:
                self._cursor = version
                if version < store.compacted:
                    raise expired(f"too old resource version: {version} ({store.compacted})")

    def poll(self) -> list[WatchEvent]:
        """What has happened since the last call, in order; at first also the initial events.

        Raises:
            StatusError: 410, the history ran over before it was read.
        """
        found, self._initial = self._initial, []
        try:
            with self._store.lock:
                changes = self._store.changes(self._resource.stored_as, self._cursor, following=True)
                self._known = self._store.revision
        except Compacted as exc:
            raise expired(f"too old resource version: {exc.asked} ({exc.oldest})") from None
        for change in changes:
            self._cursor = change.revision
            if event := self._of(change):
                found.append(event)
        return found

    def bookmark(self) -> WatchEvent | None:
        """A bookmark at the revision of the last `poll`; ``None`` when the store is behind this watch.

        It is after a restore: the real server is silent then, too.
        """
        return self._bookmark(self._known) if self._known >= self._cursor else None

    def _bookmark(self, revision: int, *, initial_end: bool = False) -> WatchEvent:
        metadata: Manifest = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_END: "true"}
        body = self._body({"metadata": metadata})
        return WatchEvent("BOOKMARK", body, ("", ""), revision)

    def _selects(self, item: Stored) -> bool:
        if self._selection.namespace is not None and item.key[0] != self._selection.namespace:
            return False
        return not self._selection.selects or self._selection.matches(shown(self._resource, item))

    def _of(self, change: Change) -> WatchEvent | None:
        """The event that a change is to this selection: objects come and go when labels do."""
        now = change.type is not ChangeType.DELETED and self._selects(change.new)
        before = change.old is not None and self._selects(change.old)
        if now:
            return self._event("MODIFIED" if before else "ADDED", change.new, change.revision)
        if not before or change.old is None:
            return None
        if change.type is ChangeType.DELETED:
            return self._event("DELETED", change.new, change.revision)
        # It left the selection: the client is shown what it knew, at the revision at which it left.
        metadata = {**change.old.manifest["metadata"], "resourceVersion": str(change.revision)}
        left = Stored(change.old.key, change.revision, {**change.old.manifest, "metadata": metadata})
        return self._event("DELETED", left, change.revision)

    def _event(self, kind: str, item: Stored, revision: int) -> WatchEvent:
        if self._form is None:
            body = self._resource.full(shown_body(self._resource, item))
        else:
            body = self._body(shown(self._resource, item))
        return WatchEvent(kind, body, item.key, revision)

    def _body(self, manifest: Manifest) -> bytes:
        if self._form is None:
            return self._resource.full(encode(manifest))
        first, self._has_columns = not self._has_columns, True
        return encode(self._form.event(self._resource, manifest, first=first))


def _truth(text: str | None) -> bool:
    return text in ("1", "t", "T", "true", "True", "TRUE")
