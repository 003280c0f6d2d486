"""How a path is matched, defined once; every renderer is held to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["PathKind", "PathMatch"]


class PathKind(StrEnum):
    """The two ways to match a path. ImplementationSpecific is served as Prefix."""

    EXACT = "Exact"
    PREFIX = "Prefix"


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path of a request.

    Attributes:
        kind: Exact: the same path, byte for byte. Prefix: the same elements at the start.
        value: A path in normal form. Of a Prefix it has no trailing slash (one means nothing there),
            except that the prefix of everything is ``/``.

    Source: KEP-1453, "Path matching".
    """

    kind: PathKind
    value: str

    @classmethod
    def exact(cls, path: str) -> PathMatch:
        """Takes that path only. *path* must be in normal form."""
        return cls(PathKind.EXACT, path)

    @classmethod
    def prefix(cls, path: str) -> PathMatch:
        """Takes that path and what is below it. *path* must be in normal form."""
        return cls(PathKind.PREFIX, path.rstrip("/") or "/")

    def matches(self, path: str) -> bool:
        """Whether it takes *path*, which must be in normal form."""
        if self.kind is PathKind.EXACT:
            return path == self.value
        return self.value == "/" or path == self.value or path.startswith(self.value + "/")

    @property
    def precedence(self) -> tuple[int, int, str]:
        """A sort key that puts the match first that wins where several take a path.

        Exact before Prefix, then the one with more elements; the value itself only makes the order
        total: two different prefixes with as many elements never take the same path.
        """
        if self.kind is PathKind.EXACT:
            return (0, 0, self.value)
        return (1, -self.value.count("/") if self.value != "/" else 0, self.value)

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"
