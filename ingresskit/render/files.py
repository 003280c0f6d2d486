"""The artifact of most renderers: files, some of them secret."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ingresskit.errors import ConfigurationError

__all__ = ["RenderedFile", "Rendering"]


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file of a `Rendering`.

    Attributes:
        path: Relative, without ``..``.
        content: Its bytes; not in the ``repr``.
        secret: Whether it holds key material: it is written with mode 0600 and never shown.
        mask: Makes *content* fit to be shown where it holds values of header fields that policies set,
            which may be credentials; ``None`` where the content may be shown as it is.

    Raises:
        ConfigurationError: *path* is absolute, empty, or has a ``..`` element or a control character.
    """

    path: PurePosixPath
    content: bytes = field(repr=False)
    secret: bool = False
    mask: Callable[[bytes], bytes] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = str(self.path)
        if self.path.is_absolute() or ".." in self.path.parts or text == "." or not text.isprintable():
            raise ConfigurationError(f"{text!r} is not a relative path inside a rendering")

    @property
    def shown(self) -> bytes | None:
        """The content as it may be shown to people; ``None`` for a secret file."""
        if self.secret:
            return None
        return self.content if self.mask is None else self.mask(self.content)

    @classmethod
    def text(cls, path: str, content: str) -> RenderedFile:
        """A file of text, in UTF-8."""
        return cls(PurePosixPath(path), content.encode())

    @classmethod
    def of(
        cls, path: str, content: bytes, *, secret: bool = False, mask: Callable[[bytes], bytes] | None = None
    ) -> RenderedFile:
        """A file of bytes."""
        return cls(PurePosixPath(path), content, secret, mask)


@dataclass(frozen=True, slots=True)
class Rendering:
    """The artifact of most renderers: files.

    Attributes:
        files: Sorted by path; each path once.

    Raises:
        ConfigurationError: Two files have the same path.
    """

    files: tuple[RenderedFile, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda item: item.path)))
        paths = [item.path for item in self.files]
        if len(set(paths)) < len(paths):
            raise ConfigurationError("a rendering has the same path twice")

    @property
    def digest(self) -> str:
        """SHA-256 over paths and contents, lower-case hexadecimal."""
        total = hashlib.sha256()
        for item in self.files:
            total.update(f"{item.path}\0{len(item.content)}\0".encode())
            total.update(item.content)
        return total.hexdigest()
