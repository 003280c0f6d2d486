"""Notes about objects, kept sorted while the parts of a translation replace theirs one by one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import Generic, TypeVar

from ingresskit._sorted_map import SortedMap

__all__ = ["Ledger"]

T = TypeVar("T")
SubjectT = TypeVar("SubjectT", bound=tuple[object, ...])


class Ledger(Generic[SubjectT, T]):
    """All notes sorted by their subjects; replacing some costs as much as their subjects have.

    Args:
        subject: The object that a note is about.
        settle: Brings all notes about one subject into the order and number in which they are shown. The
            order in which it is given them means nothing.
    """

    def __init__(self, subject: Callable[[T], SubjectT], settle: Callable[[Iterable[T]], Sequence[T]]) -> None:
        self._subject = subject
        self._settle = settle
        self._notes: dict[SubjectT, dict[Hashable, list[T]]] = {}
        self._subjects: dict[Hashable, tuple[SubjectT, ...]] = {}
        self._dirty: set[SubjectT] = set()
        self._settled: SortedMap[SubjectT, Sequence[T]] = SortedMap(_by_itself)
        self._all: tuple[T, ...] = ()

    def put(self, source: Hashable, notes: Iterable[T] = ()) -> None:
        """Let these be the notes of *source*, in place of those that it had."""
        before = self._subjects.pop(source, ())
        for subject in before:
            del self._notes[subject][source]
        self._dirty.update(before)
        found: dict[SubjectT, list[T]] = {}
        for note in notes:
            found.setdefault(self._subject(note), []).append(note)
        if found:
            self._subjects[source] = tuple(found)
            self._dirty.update(found)
            for subject, items in found.items():
                self._notes.setdefault(subject, {})[source] = items

    def all(self) -> tuple[T, ...]:
        """All notes; the same tuple until one is another."""
        if not self._dirty:
            return self._all
        for subject in self._dirty:
            sources = self._notes.get(subject)
            if sources:
                self._settled.put(subject, self._settle(chain.from_iterable(sources.values())))
            else:
                self._notes.pop(subject, None)
                self._settled.drop(subject)
        self._dirty.clear()
        after = tuple(chain.from_iterable(self._settled.values()))
        if after != self._all:
            self._all = after
        return self._all


def _by_itself(subject: SubjectT) -> SubjectT:
    return subject
