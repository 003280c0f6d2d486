"""A folder of manifests over time: what to read when.

Each look compares stat signatures with those of what was read. Of a path, one of four things can be so:

- It is new or has another inode, and was moved there or not written for a while: it is complete and
  read at once.
- It was written in place, or made a moment ago: read when the next look finds it unchanged. Until then
  what it held before counts, for a half-written file must not take objects away.
- It is gone: what it held goes when the next look does not find it either, since some editors take a
  file away and then write it anew; or at once, when the same file was read under another path.
- It cannot be looked at, or the folder around it cannot: what it held stays, and the fault is told.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingresskit.errors import DecodeError
from ingresskit.models import KubeObject, ObjectRef
from ingresskit.sources.files_manifest import Manifest, Placed, file_problem
from ingresskit.sources.files_scan import Scan, Signature, scan, signature_of

__all__ = ["Folder", "Look"]

_MOST_BYTES = 16 * 1024 * 1024
# A file that nobody wrote for so long is complete.
_AT_REST_NS = 1_000_000_000
# Two writes within one tick of the file system's clock (10 ms at most) leave the same signature, so a
# file that was read so soon after it was written is read once more.
_TICK_NS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found.

    Attributes:
        changed: Whether anything differs from the look before; always true for the first.
        settled: Whether nothing waits to be confirmed by the next look.
        objects: Each object once, in the order of the files; empty unless *changed*.
        problems: What could not be read; empty unless *changed*.
        locations: For each of *objects*, where it was read: ``"shop/web.yaml, document 2"``.
    """

    changed: bool
    settled: bool
    objects: tuple[KubeObject, ...] = ()
    problems: tuple[DecodeError, ...] = ()
    locations: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])


class Folder:
    """The manifests under a path. Not safe to share between threads: one look at a time."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[str, Manifest] = {}
        self._faults: dict[str, str] = {}
        self._looked = False
        self._root_missing = False

    def statistics(self) -> dict[str, int]:
        """Counts: files, documents, objects, and objects of kinds that are not read."""
        files = tuple(self._files.values())
        return {
            "files": len(files),
            "documents": sum(file.documents for file in files),
            "objects": sum(len(file.entries) for file in files),
            "ignored": sum(file.ignored for file in files),
        }

    def look(self) -> Look:
        """Read what changed since the last look.

        Raises:
            OSError: The path itself cannot be looked at, and never could.
        """
        first = not self._looked
        try:
            found = scan(self._root)
        except OSError as exc:
            if first:
                raise
            return self._without_root(exc)
        self._looked, self._root_missing = True, False
        changed, settled = first, True
        for path, signature in found.files.items():
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = Manifest(path)
            elif file.missing:
                file.missing, changed = False, True
            elif file.read == signature and not file.again:
                file.seen = None
                continue
            if first or (file.again and file.read == signature) or _is_complete(file, signature):
                news, done = _read(file, first=first)
                changed, settled = changed or news, settled and done
            else:
                file.seen, settled = signature, False
        gone, waiting = self._drop_missing(found)
        changed |= gone or found.faults != self._faults
        self._faults = found.faults
        return self._outcome(changed=changed, settled=settled and not waiting)

    def _without_root(self, exc: OSError) -> Look:
        """Keep everything; told when the second look in a row finds nothing."""
        if not self._root_missing:
            self._root_missing = True
            return Look(changed=False, settled=False)
        faults = {self._root: f"cannot be read any more ({exc.strerror}); what it held is kept"}
        changed = faults != self._faults
        self._faults = faults
        return self._outcome(changed=changed, settled=True)

    def _drop_missing(self, found: Scan) -> tuple[bool, bool]:
        """Forget the files that are gone.

        Returns:
            Whether any were dropped, and whether any wait to be missed a second time.
        """
        missing = [path for path in self._files if path not in found.files]
        if not missing:
            return False, False
        present = {
            (file.read.device, file.read.inode)
            for path, file in self._files.items()
            if file.read is not None and path in found.files
        }
        dropped = waiting = False
        for path in missing:
            file = self._files[path]
            if any(path == fault or path.startswith(fault + os.sep) for fault in found.faults):
                continue
            moved = file.read is not None and (file.read.device, file.read.inode) in present
            if file.missing or moved:
                del self._files[path]
                dropped = True
            else:
                file.missing = waiting = True
        return dropped, waiting

    def _outcome(self, *, changed: bool, settled: bool) -> Look:
        if not changed:
            return Look(changed=False, settled=settled)
        problems = [file_problem(path, reason) for path, reason in self._faults.items()]
        held: dict[ObjectRef, Placed] = {}
        # A file about to be dropped only fills the gaps that the others leave.
        for file in sorted(self._files.values(), key=lambda file: (file.missing, file.order)):
            problems += file.problems
            for placed in file.entries:
                ref = placed.item.ref
                winner = held.setdefault(ref, placed)
                if winner is not placed and not file.missing:
                    problems.append(_duplicate(ref, placed, winner))
        objects = tuple(placed.item for placed in held.values())
        locations = {ref: placed.location for ref, placed in held.items()}
        return Look(
            changed=True, settled=settled, objects=objects, problems=tuple(problems), locations=locations
        )


def _is_complete(file: Manifest, signature: Signature) -> bool:
    """Whether a new or changed file may be read without waiting for another look."""
    if file.seen == signature:
        return True
    if file.read is not None and (file.read.device, file.read.inode) == (signature.device, signature.inode):
        return False
    # Writing sets both times, renaming only the second one.
    renamed = signature.changed_ns != signature.modified_ns
    return renamed or time.time_ns() - signature.modified_ns > _AT_REST_NS


def _read(file: Manifest, *, first: bool) -> tuple[bool, bool]:
    """Read a file.

    Returns:
        Whether anything changed, and whether it is done with until its signature changes.
    """
    try:
        # Not blocking: what was a file when it was looked at may be a pipe by now.
        with open(os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123 - a pipe must not block the look
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                return False, False
            before = signature_of(found)
            data = stream.read(_MOST_BYTES + 1)
            after = signature_of(os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False, False  # The next look misses it.
    except OSError as exc:
        # Its signature stays unread, so that every look tries again.
        return file.refuse(f"cannot be read: {exc.strerror}"), True
    if after != before and not first:
        file.seen = after
        return False, False
    file.read, file.seen = before, None
    file.again = 0 <= time.time_ns() - before.modified_ns < _TICK_NS
    if len(data) > _MOST_BYTES:
        return file.refuse(f"is larger than {_MOST_BYTES // 1024**2} MiB"), not file.again
    return file.take(data), not file.again and after == before


def _duplicate(ref: ObjectRef, placed: Placed, winner: Placed) -> DecodeError:
    return DecodeError(
        kind=ref.kind,
        namespace=ref.key.namespace,
        name=ref.key.name,
        field="",
        reason=f"is also in {winner.location}, which is read first and counts",
        location=placed.location,
    )
