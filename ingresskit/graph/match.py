"""How a path is matched, defined once; every renderer is held to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ingresskit.graph.paths import PathRefused
from ingresskit.policies import path_pattern

__all__ = ["PathKind", "PathMatch"]

_IGNORE_CASE: Final = "(?i)"


class PathKind(StrEnum):
    """The ways to match a path. ImplementationSpecific is served as Prefix, unless a dialect says REGEX."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    REGEX = "RegularExpression"


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path of a request.

    Attributes:
        kind: Exact: the same path, byte for byte. Prefix: the same elements at the start.
            RegularExpression: the path begins with a match of a `ingresskit.policies.PathPattern`.
        value: A path in normal form. Of a Prefix it has no trailing slash (one means nothing there),
            except that the prefix of everything is ``/``. Of a RegularExpression, the pattern.
        host_wide: Of a RegularExpression: all paths of the host are patterns, and the longest one wins,
            as in ingress-nginx. Otherwise it changes nothing for the other paths of the host.

    Source: KEP-1453, "Path matching"; for *host_wide* ingress-nginx, "Ingress Path Matching".
    """

    kind: PathKind
    value: str
    host_wide: bool = False

    @classmethod
    def exact(cls, path: str) -> PathMatch:
        """Takes that path only. *path* must be in normal form."""
        return cls(PathKind.EXACT, path)

    @classmethod
    def prefix(cls, path: str) -> PathMatch:
        """Takes that path and what is below it. *path* must be in normal form."""
        return cls(PathKind.PREFIX, path.rstrip("/") or "/")

    @classmethod
    def regex(cls, pattern: str, *, host_wide: bool = False) -> PathMatch:
        """Takes the paths that begin with a match of *pattern*.

        Args:
            pattern: As `ingresskit.policies.path_pattern` reads it.
            host_wide: As the attribute; letters then match in either case.

        Raises:
            PatternRefused: *pattern* is not in the grammar; a `ValueError`.
        """
        if host_wide and not pattern.startswith(_IGNORE_CASE):
            pattern = _IGNORE_CASE + pattern
        return cls(PathKind.REGEX, path_pattern(pattern).text, host_wide)

    def matches(self, path: str) -> bool:
        """Whether it takes *path*, which must be in normal form.

        Raises:
            PathRefused: *path* takes too long to be matched, which some patterns allow; the request gets 400.
        """
        if self.kind is PathKind.EXACT:
            return path == self.value
        if self.kind is PathKind.REGEX:
            try:
                return path_pattern(self.value).matches(path)
            except TimeoutError:
                raise PathRefused("takes too long to be matched") from None
        return self.value == "/" or path == self.value or path.startswith(self.value + "/")

    @property
    def elements(self) -> str:
        """The path elements that all paths it takes begin with, without trailing slash: ``"/api"``.

        What a prefix rewrite replaces. Empty when there are none in common.
        """
        return path_pattern(self.value).elements if self.kind is PathKind.REGEX else self.value.rstrip("/")

    @property
    def precedence(self) -> tuple[int, int, int, int, str]:
        """A sort key that puts the match first that wins where several take a path.

        Host-wide patterns first, the longest of them before the others. Then Exact. Then what begins with
        more elements, of a RegularExpression those of `elements`, and with as many a RegularExpression
        before the Prefix. The value itself only makes the order total: two different prefixes with as many
        elements never take the same path.
        """
        if self.host_wide:
            # Of patterns with as many characters, the last one in the alphabet, as ingress-nginx has it.
            backwards = "".join(chr(0x7F - ord(letter)) for letter in self.value)
            return (0, -len(self.value), 0, 0, backwards)
        if self.kind is PathKind.EXACT:
            return (1, 0, 0, 0, self.value)
        elements = -self.elements.count("/")
        if self.kind is PathKind.REGEX:
            return (2, elements, 0, -len(self.value), self.value)
        return (2, elements, 1, 0, self.value)

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"
