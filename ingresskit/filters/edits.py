"""What becomes of the path and the header fields of a message on its way: data, made when a table is made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ingresskit.graph import DEFAULT_PATHS, PathKind, PathMatch, PathOptions, PathRefused, normalise_rewritten
from ingresskit.policies import expand, match_groups
from ingresskit.policies.values import HeaderField, plain_header_name

__all__ = ["UNCHANGED", "HeaderEdit", "PathChange", "PathChanges", "PathEdit", "PatternEdit"]

_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n")


# Where a message ends and whom it is for is the proxy's to say.
_FRAMING: Final = frozenset(
    (
        *(b"connection", b"content-length", b"host", b"keep-alive", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade"),
    )
)


# What of a path would end a value in a query, or begin another one there.
_NOT_IN_VALUE: Final = re.compile("[^A-Za-z0-9._~%/:@-]")


class PathChange(Protocol):
    """What a route makes of the path of a request. A frozen value that can be pickled."""

    def rewritten(
        self, path: str, query: bytes, match: PathMatch, options: PathOptions = DEFAULT_PATHS
    ) -> tuple[str, bytes]:
        """The path and the query that the endpoint gets.

        Args:
            path: Of the request, in normal form.
            query: With its question mark; empty without one.
            match: Of the rule that takes the request.
            options: Those of the graph.

        Raises:
            PathRefused: The path that came of it has no normal form; the request gets 400.
        """
        ...


@dataclass(frozen=True, slots=True)
class PathEdit:
    """Replaces the matched beginning of a path, all of it, or nothing.

    Attributes:
        prefix: What takes its place, without a trailing slash; empty means ``/``.
        whole: *prefix* is the whole path.
        added: *prefix* stands in front of the whole path.
    """

    prefix: str
    whole: bool = False
    added: bool = False

    def apply(self, path: str, matched: str) -> str:
        """The path that the endpoint gets.

        Args:
            path: Of the request, in normal form.
            matched: The path of the rule that takes it, without a trailing slash.
        """
        if self.whole:
            return self.prefix
        if self.added:
            return self.prefix + path
        return (self.prefix + path[len(matched) :]) or "/"

    def rewritten(
        self, path: str, query: bytes, match: PathMatch, options: PathOptions = DEFAULT_PATHS
    ) -> tuple[str, bytes]:
        """As `PathChange.rewritten`."""
        return self.apply(path, match.elements), query


@dataclass(frozen=True, slots=True)
class PatternEdit:
    """Makes a path anew from parts of it.

    Attributes:
        pattern: As `ingresskit.policies.RegexRewrite.pattern`.
        replacement: As `ingresskit.policies.RegexRewrite.replacement`.
    """

    pattern: str | None
    replacement: str

    def rewritten(
        self, path: str, query: bytes, match: PathMatch, options: PathOptions = DEFAULT_PATHS
    ) -> tuple[str, bytes]:
        """As `PathChange.rewritten`."""
        groups: tuple[str, ...] | None = ()
        pattern = match.value if self.pattern is None and match.kind is PathKind.REGEX else self.pattern
        if pattern is not None:
            try:
                groups = match_groups(pattern, path)
            except TimeoutError:
                raise PathRefused("takes too long to be matched") from None
        if groups is None:
            return path, query
        template, mark, own = self.replacement.partition("?")
        made = expand(template, groups)
        if mark:
            values = [_NOT_IN_VALUE.sub(lambda found: f"%{ord(found[0]):02X}", group) for group in groups]
            query = b"?" + expand(own, values).encode("ascii") + (b"&" + query[1:] if query[1:] else b"")
        return normalise_rewritten(made if made.startswith("/") else f"/{made}", options), query


@dataclass(frozen=True, slots=True)
class PathChanges:
    """Several changes, one after the other."""

    changes: tuple[PathChange, ...]

    def rewritten(
        self, path: str, query: bytes, match: PathMatch, options: PathOptions = DEFAULT_PATHS
    ) -> tuple[str, bytes]:
        """As `PathChange.rewritten`."""
        for change in self.changes:
            path, query = change.rewritten(path, query, match, options)
        return path, query


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """Changes of header fields, merged into one pass over a head. False: none.

    Attributes:
        drop: Names to take out in any spelling, as `plain_header_name` has them.
        fields: Names and values to add after that, as written. One whose name is not in *drop* stands beside
            those that the head has.
        lines: The same as lines of a head, each with its line end.

    Raises:
        ValueError: A name or value cannot stand in a head, or a name is one of framing.
    """

    drop: frozenset[bytes] = frozenset()
    fields: tuple[tuple[bytes, bytes], ...] = ()
    lines: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines = [b"%b: %b\r\n" % item for item in self.fields]
        if not all(map(_LINE.fullmatch, lines)):
            raise ValueError("a header field with a character that cannot stand there")
        if not _FRAMING.isdisjoint(_plain(name) for name, _ in self.fields):
            raise ValueError("a header field that belongs to the proxy")
        object.__setattr__(self, "lines", b"".join(lines))

    @classmethod
    def of(cls, fields: Iterable[HeaderField] = (), removed: Iterable[str] = ()) -> HeaderEdit:
        """The edit that sets *fields* and takes out *removed*.

        Args:
            fields: Names and values, in ASCII.
            removed: Names.
        """
        given = tuple(fields)
        names = (*(name for name, _ in given), *removed)
        return cls(
            drop=frozenset(plain_header_name(name).encode("ascii") for name in names),
            fields=tuple((name.encode("ascii"), value.encode("ascii")) for name, value in given),
        )

    def then(self, later: HeaderEdit) -> HeaderEdit:
        """Both edits as one; where both set a field, *later* wins."""
        if not later:
            return self
        if not self:
            return later
        kept = [item for item in self.fields if _plain(item[0]) not in later.drop]
        return HeaderEdit(self.drop | later.drop, (*kept, *later.fields))

    def __bool__(self) -> bool:
        return bool(self.drop or self.fields)


UNCHANGED: Final = HeaderEdit()
"""No change."""


def _plain(name: bytes) -> bytes:
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())
