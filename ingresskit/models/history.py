"""What changed from one version of a value to the next, remembered for the last versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Changed", "History"]

Changed = Mapping[object, frozenset[object]]
"""For each part of a value, the keys of what became another object. Parts that did not change are absent."""

# A reader that compares two versions has seldom missed more than one or two between them. The numbers bound
# what the memory holds; beyond them versions are compared key by key.
_MOST_STEPS = 32
_MOST_KEYS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The place of one version in a line of versions, and the last steps that led to it. Immutable.

    Attributes:
        line: The identity of the line: versions of two lines cannot be compared.
        number: Counts the versions of the line.
        steps: What the last steps changed, the newest last.
    """

    line: object
    number: int = 0
    steps: tuple[Changed, ...] = ()

    @classmethod
    def begin(cls) -> History:
        """The history of the first version of a new line."""
        return cls(object())

    def next(self, changed: Changed) -> History:
        """The history of the version after this one, which differs in *changed* and nothing else."""
        steps = (*self.steps[1 - _MOST_STEPS :], changed)
        sizes = [sum(map(len, step.values())) for step in steps]
        total = sum(sizes)
        while total > _MOST_KEYS:
            total, sizes, steps = total - sizes[0], sizes[1:], steps[1:]
        return History(self.line, self.number + 1, steps)

    def between(self, other: History) -> Changed | None:
        """What may differ between this version and *other*, whichever is the newer.

        Returns:
            The union of the steps between the two; ``None`` when they are of two lines, or when the steps
            are no longer remembered.
        """
        if self.line is not other.line:
            return None
        newer = self if self.number >= other.number else other
        missed = abs(self.number - other.number)
        if missed > len(newer.steps):
            return None
        found: dict[object, frozenset[object]] = {}
        for step in newer.steps[len(newer.steps) - missed :]:
            for part, keys in step.items():
                found[part] = found[part] | keys if part in found else keys
        return found
