"""Which manifests a folder holds and how each looks from outside: one pass over names and stats."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

__all__ = ["Scan", "Signature", "scan", "signature_of"]

SUFFIXES = (".json", ".yaml", ".yml")

_MOST_ENTRIES = 100_000
_by_name = attrgetter("name")


class Signature(NamedTuple):
    """What changes about a file when it is written, replaced, or made unreadable."""

    modified_ns: int
    size: int
    inode: int
    device: int
    changed_ns: int


@dataclass(slots=True, kw_only=True)
class Scan:
    """What one pass found.

    Attributes:
        files: The signature of each manifest by its path, in order: folder by folder, names sorted.
            Each real file once, under the first of its names; so is each real folder, which is what
            ends loops of links.
        faults: What is wrong with a path, as a clause: a manifest that cannot be looked at, or a
            folder that cannot be listed and whose files are therefore unknown rather than gone.
    """

    files: dict[str, Signature] = field(default_factory=dict[str, Signature])
    faults: dict[str, str] = field(default_factory=dict[str, str])


def signature_of(found: os.stat_result) -> Signature:
    """The signature of the file with that stat."""
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev, found.st_ctime_ns)


def scan(root: str) -> Scan:
    """Look at the manifests under a folder, or at the one file that *root* is.

    Names that begin with a dot are passed over, and with them what editors and mounted ConfigMaps keep
    there; names that do not end in ``.yaml``, ``.yml`` or ``.json`` too. Links are followed.

    Raises:
        OSError: *root* itself is not there or cannot be listed.
    """
    found = os.stat(root)  # noqa: PTH116 - this room counts microseconds per file
    result = Scan()
    if not stat.S_ISDIR(found.st_mode):
        _take(result, root, found, set())
        return result
    files: set[tuple[int, int]] = set()
    folders = {(found.st_dev, found.st_ino)}
    # Folders are walked depth first in the order of their names, without recursion: what is still to
    # be done lies on a stack of iterators.
    left = _MOST_ENTRIES
    stack = [iter(_listed(root))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        left -= 1
        if left < 0:
            result.faults[root] = f"holds more than {_MOST_ENTRIES} names; the rest is not read"
            break
        name = entry.name
        if name.startswith("."):
            continue
        try:
            if entry.is_dir():
                inner = entry.stat()
                if (inner.st_dev, inner.st_ino) not in folders:
                    folders.add((inner.st_dev, inner.st_ino))
                    stack.append(iter(_listed(entry.path)))
            elif name.endswith(SUFFIXES):
                _take(result, entry.path, entry.stat(), files)
        except FileNotFoundError:
            if entry.is_symlink():
                result.faults[entry.path] = "is a link to something that is not there"
        except OSError as exc:
            result.faults[entry.path] = f"cannot be read: {exc.strerror}"
    return result


def _listed(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=_by_name)


def _take(result: Scan, path: str, found: os.stat_result, files: set[tuple[int, int]]) -> None:
    if not stat.S_ISREG(found.st_mode):
        result.faults[path] = "is not a regular file"
        return
    identity = (found.st_dev, found.st_ino)
    if identity not in files:
        files.add(identity)
        result.files[path] = signature_of(found)
