"""The tables of the dynamic mode on disk, so that an nginx that starts serves what the last one did.

    <configuration>/tables    every row, when the configuration was written, or the journal grew long
    journal                   each push since, in order

A record names the state it was made for and the one it led to. A record that is cut, damaged or made for
another state ends the reading, so there is no moment at which a kill leaves something false behind:
at worst a push is missing that nginx had already taken, and the controller, which asks, says it again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ingresskit.apply.nginx.control import Row, encode_rows

__all__ = ["Journal", "table_record"]

# A journal shorter than this is not worth rewriting the tables for.
_LEAST_BYTES = 4 * 1024 * 1024


def table_record(rows: Sequence[Row], *, generation: int, base: str, state: str) -> bytes:
    """One push as it stands on disk; with the base ``"-"``, the file ``tables``."""
    body = encode_rows(rows)
    return f"push {generation} {base} {state} {len(body)} {zlib.crc32(body):08x}\n".encode("ascii") + body


class Journal:
    """The file of pushes. Functions block, for moments; one task calls them. `OSError` is passed on.

    Args:
        state: The folder it lies in, and ``current`` beside it.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "journal"
        self._current = state / "current"

    @property
    def long(self) -> bool:
        """It holds more than the tables it amends."""
        with suppress(OSError):
            size = self._path.stat().st_size
            return size > max(_LEAST_BYTES, (self._current / "tables").stat().st_size)
        return False

    def clear(self) -> None:
        """Forget every push: the tables have them, or were made without."""
        self._path.unlink(missing_ok=True)

    def append(self, record: bytes) -> None:
        """Add a push that nginx has taken. What a full disk let through of it is taken back."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, record) < len(record):
                    raise OSError("the disk is full")
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def rewrite(self, tables: bytes) -> None:
        """Put *tables*, a record with the base ``"-"``, in place of the tables and every push so far."""
        folder = self._current.resolve(strict=True)
        fresh = folder / ".tables"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(tables)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(folder / "tables")
        self.clear()
