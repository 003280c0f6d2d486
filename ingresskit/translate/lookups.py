"""What dialects look up in a snapshot, remembered: a change of it is a reason to read an object again."""

from __future__ import annotations

from typing import TypeVar, cast

from ingresskit.models import KubeObject, ObjectKey, Snapshot

__all__ = ["LookedUp", "Lookups", "still_so"]

K = TypeVar("K", bound=KubeObject)

LookedUp = tuple[type[KubeObject], ObjectKey, KubeObject | None]
"""A kind, a key, and the object that was there; ``None``: there was none."""


class Lookups:
    """Looks up objects in one snapshot, and remembers which: an `ingresskit.policies.Objects`."""

    __slots__ = ("_found", "_snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._found: dict[tuple[type[KubeObject], ObjectKey], KubeObject | None] = {}

    def __call__(self, kind: type[K], key: ObjectKey, /) -> K | None:
        """The object of *kind* with that key."""
        place = (kind, key)
        if place not in self._found:
            self._found[place] = self._snapshot.get(kind, key)
        return cast("K | None", self._found[place])

    @property
    def found(self) -> tuple[LookedUp, ...]:
        """Everything that was looked up so far, in that order, each once."""
        return tuple((kind, key, item) for (kind, key), item in self._found.items())


def still_so(snapshot: Snapshot, looked_up: tuple[LookedUp, ...]) -> bool:
    """Whether *snapshot* has the same objects in these places."""
    return all(snapshot.get(kind, key) is item for kind, key, item in looked_up)
