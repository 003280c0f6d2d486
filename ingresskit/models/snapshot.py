"""Everything known about the cluster at one moment, as one immutable value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar, cast

from ingresskit.errors import DecodeError
from ingresskit.models.claims import NO_CLAIMS, HostClaims
from ingresskit.models.history import Changed, History
from ingresskit.models.meta import KubeObject, ObjectKey

__all__ = ["Snapshot", "SnapshotChanges"]

K = TypeVar("K", bound=KubeObject)

_EMPTY: Mapping[ObjectKey, KubeObject] = MappingProxyType({})
_NO_KEYS: frozenset[ObjectKey] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChanges:
    """Which objects of a snapshot are new, gone, or other objects than in an earlier one.

    Attributes:
        keys: The keys of those objects by kind; kinds without one are absent.
    """

    keys: Mapping[type[KubeObject], frozenset[ObjectKey]] = field(
        default_factory=dict[type[KubeObject], frozenset[ObjectKey]]
    )

    def of(self, kind: type[KubeObject]) -> frozenset[ObjectKey]:
        """The keys of *kind*."""
        return self.keys.get(kind, _NO_KEYS)


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotHistory:
    """The history of the objects of one snapshot.

    Attributes:
        objects: These objects: a snapshot that has others was made from this one by other hands.
    """

    objects: Mapping[type[KubeObject], Mapping[ObjectKey, KubeObject]]
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything known at one moment.

    Snapshots of one source share structure: the map of a kind that did not change between two
    snapshots is the same object in both, and so is every unchanged object. The translator relies
    on that identity to do only the work that a change asks for.

    Attributes:
        objects: For each kind, its objects by key. A kind of which nothing is known may be absent.
        revision: Counts the changes of the source; orders its snapshots and means nothing else.
        problems: What the source could not read, sorted by its text; such an object is absent, or is
            present in the last form that could be read.
        claims: Which namespace holds which host already. Sources leave it empty; a controller adds its
            record before it translates.
        history: What changed in *objects* in the last steps, where the source says so.
    """

    objects: Mapping[type[KubeObject], Mapping[ObjectKey, KubeObject]] = field(
        default_factory=dict[type[KubeObject], Mapping[ObjectKey, KubeObject]]
    )
    revision: int = 0
    problems: tuple[DecodeError, ...] = ()
    claims: HostClaims = NO_CLAIMS
    history: SnapshotHistory | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        objects: Iterable[KubeObject],
        *,
        revision: int = 0,
        problems: Iterable[DecodeError] = (),
        claims: HostClaims = NO_CLAIMS,
    ) -> Snapshot:
        """A snapshot of these objects. Of two with the same kind and key the later one counts."""
        kinds: dict[type[KubeObject], dict[ObjectKey, KubeObject]] = {}
        for item in objects:
            kinds.setdefault(type(item), {})[item.key] = item
        return cls(
            objects=dict(kinds),
            revision=revision,
            problems=tuple(sorted(problems, key=str)),
            claims=claims,
        )

    def by_key(self, kind: type[K]) -> Mapping[ObjectKey, K]:
        """The objects of *kind* by key, in no order; empty when there are none."""
        return cast("Mapping[ObjectKey, K]", self.objects.get(kind, _EMPTY))

    def all(self, kind: type[K]) -> Sequence[K]:
        """The objects of *kind*, sorted by namespace, then name."""
        return [item for _, item in sorted(self.by_key(kind).items())]

    def get(self, kind: type[K], key: ObjectKey) -> K | None:
        """The object of *kind* with that key, or ``None``."""
        return self.by_key(kind).get(key)

    def succeeded_by(
        self,
        objects: Mapping[type[KubeObject], Mapping[ObjectKey, KubeObject]],
        changed: Mapping[type[KubeObject], frozenset[ObjectKey]],
        *,
        problems: tuple[DecodeError, ...] = (),
    ) -> Snapshot:
        """The next snapshot of a source: it knows what changed since this one.

        Args:
            objects: As `Snapshot.objects`.
            changed: For each kind, at least the keys of what is another object, new, or gone.
            problems: As `Snapshot.problems`.
        """
        known = self._known_history()
        before = History.begin() if known is None else known
        step: Changed = {kind: keys for kind, keys in changed.items() if keys}
        return Snapshot(
            objects=objects,
            revision=self.revision + 1,
            problems=problems,
            history=SnapshotHistory(objects, before.next(step)),
        )

    def since(self, previous: Snapshot) -> SnapshotChanges:
        """What changed since *previous*: objects are compared by identity.

        Costs as much as there are changes where a source made both snapshots and few others between them;
        else every object of the kinds that changed is looked at.
        """
        if self.objects is previous.objects:
            return SnapshotChanges()
        ours, theirs = self._known_history(), previous._known_history()
        hints = ours.between(theirs) if ours is not None and theirs is not None else None
        found: dict[type[KubeObject], frozenset[ObjectKey]] = {}
        for kind in self.objects.keys() | previous.objects.keys():
            old, new = previous.objects.get(kind, _EMPTY), self.objects.get(kind, _EMPTY)
            if old is new:
                continue
            if hints is None:
                keys = {key for key, item in new.items() if old.get(key) is not item}
                keys |= old.keys() - new.keys()
            else:
                hinted = cast("frozenset[ObjectKey]", hints.get(kind, _NO_KEYS))
                keys = {key for key in hinted if old.get(key) is not new.get(key)}
            if keys:
                found[kind] = frozenset(keys)
        return SnapshotChanges(keys=found)

    def _known_history(self) -> History | None:
        known = self.history
        return known.history if known is not None and known.objects is self.objects else None
