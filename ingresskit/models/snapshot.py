"""Everything known about the cluster at one moment, as one immutable value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar, cast

from ingresskit.errors import DecodeError
from ingresskit.models.claims import NO_CLAIMS, HostClaims
from ingresskit.models.meta import KubeObject, ObjectKey

__all__ = ["Snapshot"]

K = TypeVar("K", bound=KubeObject)

_EMPTY: Mapping[ObjectKey, KubeObject] = MappingProxyType({})


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
    """

    objects: Mapping[type[KubeObject], Mapping[ObjectKey, KubeObject]] = field(
        default_factory=dict[type[KubeObject], Mapping[ObjectKey, KubeObject]]
    )
    revision: int = 0
    problems: tuple[DecodeError, ...] = ()
    claims: HostClaims = NO_CLAIMS

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
