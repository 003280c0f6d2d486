"""Objects from a folder of YAML and JSON manifests, followed as it changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import anyio
from anyio import to_thread

from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.facts import fact_logger
from ingresskit.models import ObjectRef, Snapshot
from ingresskit.sources.base import SnapshotStore
from ingresskit.sources.files_folder import Folder, Look

__all__ = ["FileSource"]

_logger = fact_logger(__name__)


class FileSource:
    """A source that reads manifests: every ``.yaml``, ``.yml`` and ``.json`` file under a folder.

    Files may hold several YAML documents, and lists (``List``, ``IngressList``). Folders are nested as
    deep as you like; names that begin with a dot are passed over; links are followed, each real file
    being read once. Objects without a namespace are put into ``default``, as kubectl does.

    The folder is looked at every *interval*, and everything that one look finds makes one snapshot.
    A change is in the snapshot after one interval and a quarter of one more at most, plus the time to
    read it. Nothing is lost by writing carelessly: a file is read when it is complete, and what cannot
    be read is in `ingresskit.models.Snapshot.problems` while the last good form of its objects stays.
    The exceptions are deliberate: deleting a file, or a document of a file, takes its objects away.
    Of two files with the same object the first one, folder by folder in the order of names, counts.

    Raises:
        ConfigurationError: *interval* is not more than zero.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, interval: timedelta = timedelta(milliseconds=150)
    ) -> None:
        """Read nothing yet.

        Args:
            directory: A folder, or one file (which is JSON if it is called ``.json`` and YAML else).
            interval: How long to wait between two looks.
        """
        if interval <= timedelta(0):
            raise ConfigurationError(f"the interval between looks must be more than zero, not {interval}")
        self._path = str(Path(directory))
        self._interval = interval.total_seconds()
        self._folder = Folder(self._path)
        self._store = SnapshotStore()
        self._statistics: Mapping[str, int] = self._folder.statistics()
        self._locations: Mapping[ObjectRef, str] = {}

    def snapshot(self) -> Snapshot | None:
        """The objects in the files now; ``None`` until all have been read once."""
        return self._store.snapshot()

    async def wait_changed(self, revision: int) -> None:
        """Return once the snapshot's revision is above *revision*."""
        await self._store.wait_changed(revision)

    def statistics(self) -> Mapping[str, int]:
        """Counts as of the latest snapshot: ``files``, ``documents``, ``objects``, ``ignored``.

        The objects ignored are those of kinds that ingresskit does not read.
        """
        return self._statistics

    def location(self, ref: ObjectRef) -> str | None:
        """Where an object of the latest snapshot was read: ``"web.yaml, document 2"``; ``None``: nowhere."""
        return self._locations.get(ref)

    async def run(self) -> None:
        """Follow the files until cancelled. Looks are made in a worker thread, one at a time.

        Raises:
            SourceError: The folder is not there, or may not be read, when this begins.
        """
        limiter = anyio.CapacityLimiter(1)
        try:
            look = await to_thread.run_sync(self._folder.look, limiter=limiter)
        except OSError as exc:
            raise SourceError(f"the manifests in {self._path} cannot be read: {exc.strerror}") from None
        while True:
            if look.changed:
                self._publish(look)
            # What waits for a second look must not wait for long.
            await anyio.sleep(self._interval if look.settled else self._interval / 4)
            look = await to_thread.run_sync(self._folder.look, limiter=limiter)

    def _publish(self, look: Look) -> None:
        # No look is under way, so the folder may be asked.
        self._statistics = self._folder.statistics()
        self._locations = look.locations
        changed = self._store.replace(look.objects, look.problems)
        snapshot = self._store.snapshot()
        if changed and snapshot is not None:
            facts = {"path": self._path, "revision": snapshot.revision, "problems": len(snapshot.problems)}
            _logger.debug("manifests read", extra={**facts, **self._statistics})
