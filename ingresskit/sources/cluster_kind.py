"""All that is known of one kind: of the whole cluster, of some namespaces, of single objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Generic, Never, TypeVar, cast

import anyio

from ingresskit.cache import Reflector, ReflectorState, SharedInformer
from ingresskit.cache.refusals import refusal
from ingresskit.errors import DecodeError, Forbidden, NotFound
from ingresskit.kube import ResourceKind
from ingresskit.models import IngressClass, KubeObject, ObjectKey
from ingresskit.models.history import History
from ingresskit.sources.cluster_settings import CacheStatistics

__all__ = ["KindCache", "changed_keys"]

K = TypeVar("K", bound=KubeObject)

_NOTHING: Mapping[ObjectKey, Never] = MappingProxyType({})

# What a user finds missing while a kind cannot be read. Each ends a sentence.
_EFFECTS: Mapping[str, str] = {
    "Ingress": "none of them is served",
    "Service": "nothing that leads to one is served",
    "EndpointSlice": "Endpoints are read in their place",
    "Endpoints": "nothing is known of where Services lead",
    "IngressClass": "only the annotation kubernetes.io/ingress.class says which Ingresses are ours",
    "Secret": "hosts with a certificate in one are served without it, or not at all",
    "Namespace": "their annotation ingresskit.dev/hosts is not used, and none of them passes a selector",
    "ConfigMap": "who holds a host is kept in memory only, and after a restart the oldest claim decides",
}


class KindCache(Generic[K]):
    """The informers of one kind, read as one.

    Args:
        model: The kind.
        main: Follows all of the kind that is wanted anyhow; ``None`` when only single objects are.
        required: Whether nothing is to be done without it.
        stand_in: What counts in its place while it has never been read and may not, or cannot, be.
    """

    def __init__(
        self,
        model: type[K],
        main: SharedInformer[K] | None,
        *,
        required: bool = False,
        stand_in: Mapping[ObjectKey, K] | None = None,
    ) -> None:
        self.model = model
        self.main = main
        self._required = required
        self._stand_in = MappingProxyType(dict(stand_in or {}))
        self._wanted: dict[str, SharedInformer[K]] = {}
        self._effects: dict[str, str] = {}
        self._parts: tuple[Mapping[ObjectKey, K], ...] = ()
        self._merged: Mapping[ObjectKey, K] = {}

    def add(self, name: str, informer: SharedInformer[K], *, effect: str = "") -> None:
        """Count what *informer* knows too.

        Args:
            name: Tells it apart from others.
            informer: Follows one object, or a few.
            effect: What a user finds missing while it cannot be read, as a clause: then one problem stands
                for all such objects of a namespace. Empty: that of the kind, with the name of the object.
        """
        self._wanted[name] = informer
        if effect:
            self._effects[name] = effect

    def remove(self, name: str) -> SharedInformer[K] | None:
        """No longer count the informer of that name; returned for being ended, if there is one."""
        self._effects.pop(name, None)
        return self._wanted.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether there is an informer of that name."""
        return name in self._wanted

    @property
    def informers(self) -> Sequence[SharedInformer[K]]:
        """All of them; the main one first."""
        return (*((self.main,) if self.main else ()), *self._wanted.values())

    @property
    def ready(self) -> bool:
        """Whether as much is known as can be for now, and enough to begin with."""
        if not all(informer.is_settled for informer in self.informers):
            return False
        if not self._required or self.main is None:
            return True
        return any(reflector.has_synced for reflector in self.main.reflectors)

    @property
    def lacking(self) -> bool:
        """Whether some of it has never been read, since a right or the kind itself is missing."""
        return any(
            _refused(reflector.last_error) and not reflector.has_synced for reflector in self._reflectors()
        )

    def objects(self) -> Mapping[ObjectKey, K]:
        """Everything by key; the same mapping for as long as nothing changes."""
        parts = [informer.store.snapshot() for informer in reversed(self.informers)]
        if self._stand_in and self.lacking:
            parts.insert(0, self._stand_in)
        filled = tuple(part for part in parts if part)
        if len(filled) <= 1:
            return filled[0] if filled else _NOTHING
        if len(filled) != len(self._parts) or any(
            new is not old for new, old in zip(filled, self._parts, strict=True)
        ):
            merged: dict[ObjectKey, K] = {}
            for part in filled:
                merged.update(part)
            self._parts, self._merged = filled, MappingProxyType(merged)
        return self._merged

    def history(self) -> History | None:
        """The history of the last `objects`; ``None`` where more than one informer knows some of them."""
        filled = [informer.store for informer in self.informers if informer.store.snapshot()]
        return filled[0].history() if len(filled) == 1 and not (self._stand_in and self.lacking) else None

    def problems(self) -> Iterator[DecodeError]:
        """The objects that cannot be read, and what is refused altogether."""
        for informer in self.informers:
            for failure in informer.failures().values():
                yield failure.error
        if self.main is not None:
            for reflector in self.main.reflectors:
                yield from self._refusal(reflector, "*")
        for name, informer in self._wanted.items():
            for reflector in informer.reflectors:
                effect = self._effects.get(name, "")
                yield from self._refusal(reflector, "*" if effect else name.rpartition("/")[2], effect)

    def hindrance(self) -> str:
        """Why it is not `ready`, as a clause; empty when it is."""
        if self.ready:
            return ""
        errors = [str(item.last_error) for item in self._reflectors() if item.last_error is not None]
        return f"{self.model.kind}: {errors[0] if errors else 'not read yet'}"

    def silence(self) -> float:
        """For how many seconds an open watch has brought nothing: the longest."""
        now = anyio.current_time()
        open_ones = (item for item in self._reflectors() if item.state is ReflectorState.WATCHING)
        return max((now - item.last_contact for item in open_ones), default=0.0)

    def statistics(self) -> CacheStatistics:
        """How it goes."""
        informers = self.informers
        counts: dict[str, int] = {}
        for informer in informers:
            for name, count in informer.statistics().items():
                counts[name] = counts.get(name, 0) + count
        reflectors = tuple(self._reflectors())
        heard = min((reflector.last_contact for reflector in reflectors), default=float("-inf"))
        never = heard == float("-inf")
        errors = [str(item.last_error) for item in reflectors if item.last_error is not None]
        states = {informer.state: None for informer in informers}
        return CacheStatistics(
            kind=self.model.kind,
            state=next((s for s in states if s is not ReflectorState.WATCHING), ReflectorState.WATCHING),
            synced=all(informer.has_synced for informer in informers),
            objects=len(self.objects()),
            undecodable=counts.get("undecodable", 0),
            last_contact=None if never else timedelta(seconds=anyio.current_time() - heard),
            namespaces=tuple(self.main.scope) if self.main is not None else (),
            error=errors[0] if errors else "",
            lists=counts.get("lists", 0) + counts.get("streams", 0),
            watches=counts.get("watches", 0),
            events=counts.get("events", 0),
            failures=counts.get("failures", 0),
        )

    def _reflectors(self) -> Iterator[Reflector[K]]:
        for informer in self.informers:
            yield from informer.reflectors

    def _refusal(self, reflector: Reflector[K], name: str, effect: str = "") -> Iterator[DecodeError]:
        effect = effect or _EFFECTS.get(self.model.kind, "it is gone without")
        if self._stand_in and self.model is IngressClass:
            named = ", ".join(sorted(key.name for key in self._stand_in))
            effect = f"a class is taken for ours if it is named {named}"
        if found := refusal(reflector, ResourceKind.of(self.model), effect=effect, name=name):
            yield found


def _refused(error: object) -> bool:
    # Not its state, which is another for the moment of each attempt.
    return isinstance(error, Forbidden | NotFound)


def changed_keys(
    old: Mapping[ObjectKey, KubeObject],
    new: Mapping[ObjectKey, KubeObject],
    before: History | None,
    after: History | None,
) -> frozenset[ObjectKey]:
    """At least the keys of what is another object in *new*; exactly those where no history tells."""
    between = after.between(before) if before is not None and after is not None else None
    if between is not None:
        return cast("frozenset[ObjectKey]", frozenset().union(*between.values()))
    keys = {key for key, item in new.items() if old.get(key) is not item}
    return frozenset(keys | (old.keys() - new.keys()))
