"""Files that others replace under us: tokens, certificates, keys, kubeconfigs."""

from __future__ import annotations

from pathlib import Path

from ingresskit.errors import CredentialsError
from ingresskit.facts import fact_logger

__all__ = ["RotatedFile"]

_logger = fact_logger(__name__)


class RotatedFile:
    """The content of a file that is replaced while we run, as the kubelet does with projected volumes.

    The file is looked at on every read and read again only when it is another one (a new modification
    time, size or inode behind the link). One that is empty or gone for the moment counts as not
    replaced yet: writers exist that truncate first.
    """

    __slots__ = ("_content", "_path", "_seen")

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._content = b""

    def __repr__(self) -> str:
        return f"RotatedFile({str(self._path)!r})"

    def forget(self) -> None:
        """Read the file again next time, whatever it looks like."""
        self._seen = None

    def read(self) -> bytes:
        """What the file holds, or held when it last held something.

        Raises:
            CredentialsError: It has never held anything that could be read.
        """
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return self._content
            content = self._path.read_bytes()
        except OSError as exc:
            if self._content:
                return self._content
            raise CredentialsError(f"{self._path} cannot be read: {exc.strerror or exc}") from exc
        if content.strip():
            if self._content and content != self._content:
                _logger.info("credentials file was replaced", extra={"path": str(self._path)})
            self._content, self._seen = content, seen
        elif not self._content:
            raise CredentialsError(f"{self._path} is empty")
        return self._content
