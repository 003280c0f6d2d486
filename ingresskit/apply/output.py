"""What a proxy program writes to its standard streams: a file that stays small, and its last lines.

A file and not a pipe: a proxy outlives the controller that started it, and would die of a pipe that
nobody reads. It is opened for appending, so that cutting it never leaves a hole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ingresskit.diagnostics import printable

__all__ = ["OutputFile"]

_MOST_BYTES = 4 * 1024 * 1024
_KEPT_BYTES = 256 * 1024
_LONGEST_LINE = 500


class OutputFile:
    """The output of one program. Functions block, for moments.

    Args:
        path: The file; made with mode 0600 when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> int:
        """A descriptor to write to, which the caller closes. It is inherited by no program by itself.

        Raises:
            OSError: The file cannot be opened.
        """
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def mark(self) -> int:
        """A place in the output: what is written from now on is `since` it."""
        with suppress(OSError):
            return self.path.stat().st_size
        return 0

    def since(self, mark: int) -> tuple[str, ...]:
        """The lines written since *mark*, printable, at most 500 characters each; the last 256 KiB of them."""
        with suppress(OSError), self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0 if mark > size else mark, size - _KEPT_BYTES))
            text = file.read(_KEPT_BYTES).decode("utf-8", "replace")
            return tuple(printable(line, _LONGEST_LINE) for line in text.splitlines() if line.strip())
        return ()

    def trim(self) -> None:
        """Keep only the end of the output when it has become long."""
        with suppress(OSError):
            if self.path.stat().st_size > _MOST_BYTES:
                with self.path.open("r+b") as file:
                    file.seek(-_KEPT_BYTES, os.SEEK_END)
                    kept = file.read()
                    file.seek(0)
                    file.truncate()
                    file.write(kept)
