"""The table of a virtual host that has variants or regular expressions; all other hosts do without it.

The paths of such a host that have neither cost what they cost elsewhere, plus one look-up of a tuple: the
order of precedence is walked path by path, and ends at the first target that takes every request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from typing_extensions import override

from ingresskit.graph import PathKind
from ingresskit.policies import MATCHING_TIME, PathPattern, TimedPattern, is_portable, path_pattern
from ingresskit.render.inprocess.table import HostTable, Target

__all__ = ["MixedHostTable", "PatternTargets", "mixed_host_table"]

Targets = tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class PatternTargets:
    """A regular expression, and the targets for its paths: variants first, one at most that is none."""

    pattern: PathPattern
    targets: Targets


_NONE: Final[tuple[PatternTargets, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedHostTable(HostTable):
    """The targets of a virtual host with variants or regular expressions.

    *exact* and *prefixes* hold the targets that are no variants, as in every table.

    Attributes:
        wide: Host-wide patterns, in the order in which they are asked, before everything else.
        all_exact: All targets by path, variants first.
        patterns: Regular expressions by the path elements that they begin with, in lower case.
        all_prefixes: All targets by prefix without trailing slash, variants first.
    """

    wide: tuple[PatternTargets, ...] = ()
    all_exact: Mapping[str, Targets] = field(default_factory=dict[str, Targets])
    patterns: Mapping[str, tuple[PatternTargets, ...]] = field(
        default_factory=dict[str, tuple[PatternTargets, ...]]
    )
    all_prefixes: Mapping[str, Targets] = field(default_factory=dict[str, Targets])

    @property
    def entries(self) -> tuple[PatternTargets, ...]:
        """All regular expressions, host-wide ones first."""
        return (*self.wide, *(entry for found in self.patterns.values() for entry in found))

    @property
    def variants(self) -> tuple[Target, ...]:
        """All targets that take some of the requests for their path only."""
        groups = [*self.all_exact.values(), *self.all_prefixes.values()]
        groups += [entry.targets for entry in self.entries]
        return tuple(target for group in groups for target in group if target.is_variant)

    @override
    def find(self, path: str) -> Target | None:
        """The first target that may take a request for *path*; it may be a variant."""
        return next(self.found(path), None)

    @override
    def found(self, path: str) -> Iterator[Target]:
        """All targets that may take a request for *path*, in the order in which they are asked."""
        for entry in self.wide:
            if entry.pattern.matches(path):
                yield from entry.targets
        yield from self.all_exact.get(path, ())
        cut = len(path)
        while True:
            elements = path[:cut]
            for entry in self.patterns.get(elements.lower(), _NONE):
                if entry.pattern.matches(path):
                    yield from entry.targets
            yield from self.all_prefixes.get(elements, ())
            if cut <= 0:
                return
            cut = path.rfind("/", 0, cut)


def mixed_host_table(host: str, targets: Iterable[Target]) -> MixedHostTable:
    """The table of *targets*, which come in the order of the routes of *host*."""
    exact: dict[str, Targets] = {}
    prefixes: dict[str, Targets] = {}
    patterns: dict[tuple[bool, str], Targets] = {}
    for target in targets:
        match = target.route.match
        match match.kind:
            case PathKind.EXACT:
                exact[match.value] = (*exact.get(match.value, ()), target)
            case PathKind.PREFIX:
                prefixes[target.matched] = (*prefixes.get(target.matched, ()), target)
            case PathKind.REGEX:
                key = (match.host_wide, match.value)
                patterns[key] = (*patterns.get(key, ()), target)
    limited = sum(not is_portable(text) for _, text in patterns)
    wide: list[PatternTargets] = []
    own: dict[str, tuple[PatternTargets, ...]] = {}
    for (host_wide, text), found in patterns.items():
        pattern = path_pattern(text)
        if isinstance(pattern, TimedPattern):
            # All of them together must not take a request more time than one may.
            pattern = replace(pattern, limit=MATCHING_TIME / limited)
        entry = PatternTargets(pattern, found)
        if host_wide:
            wide.append(entry)
        else:
            elements = entry.pattern.elements.lower()
            own[elements] = (*own.get(elements, ()), entry)
    return MixedHostTable(
        host=host,
        exact=_unconditional(exact),
        prefixes=_unconditional(prefixes),
        wide=tuple(wide),
        all_exact=exact,
        patterns=own,
        all_prefixes=prefixes,
    )


def _unconditional(found: Mapping[str, Targets]) -> dict[str, Target]:
    return {path: targets[-1] for path, targets in found.items() if not targets[-1].is_variant}
