"""Whose the Ingresses of a snapshot are, as far as their status is concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingresskit.models import Ingress, IngressClass, Namespace, ObjectKey, Snapshot
from ingresskit.translate import TranslateOptions
from ingresskit.translate.ingress.classes import LEGACY_CLASS, ClassTable

__all__ = ["Ownership", "OwnershipJudge", "judge_ownership"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Which Ingresses are ours, and which are another controller's for certain.

    Attributes:
        ours: Those that are served.
        foreign: Those that name a class of another controller. An Ingress whose class is not there, or
            that names none, is in neither: a class that was deleted, or cannot be read for a moment, must
            not cost anybody an address.
    """

    ours: frozenset[ObjectKey] = frozenset()
    foreign: frozenset[ObjectKey] = frozenset()


class OwnershipJudge:
    """Judges successive snapshots, and of each only the Ingresses that changed since the one before.

    A change of an IngressClass judges all of them again, as does that of a Namespace where namespaces are
    selected by their labels.
    """

    def __init__(self, options: TranslateOptions | None = None) -> None:
        """Know nothing yet.

        Args:
            options: Those of the translator; the defaults when ``None``.
        """
        self._options = options or TranslateOptions()
        self._table = ClassTable()
        self._last = Snapshot()
        self._found = Ownership()
        self._changed: frozenset[ObjectKey] = frozenset()

    @property
    def changed(self) -> frozenset[ObjectKey]:
        """The Ingresses that the last call of `judge` looked at, and those that are gone."""
        return self._changed

    def judge(self, snapshot: Snapshot) -> Ownership:
        """Judge the Ingresses of *snapshot* as the translator does; those being deleted are left out."""
        changes = snapshot.since(self._last)
        keys = changes.of(Ingress)
        if changes.of(IngressClass):
            self._table = ClassTable.of(snapshot.by_key(IngressClass), self._options)
        selects = self._options.scope.namespace_selector is not None
        if changes.of(IngressClass) or (selects and changes.of(Namespace)):
            keys = keys.union(snapshot.by_key(Ingress))
        if keys:
            self._found = self._judge(snapshot, keys)
        self._last, self._changed = snapshot, keys
        return self._found

    def _judge(self, snapshot: Snapshot, keys: frozenset[ObjectKey]) -> Ownership:
        ingresses, namespaces = snapshot.by_key(Ingress), snapshot.by_key(Namespace)
        ours: list[ObjectKey] = []
        foreign: list[ObjectKey] = []
        for key in keys:
            ingress = ingresses.get(key)
            if ingress is None or ingress.metadata.deletion_timestamp is not None:
                continue
            namespace = namespaces.get(ObjectKey("", key.namespace))
            labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
            if self._table.judge(ingress, labels, self._options).ours:
                ours.append(key)
            elif _is_anothers(ingress, self._table, self._options):
                foreign.append(key)
        before = self._found
        return Ownership(
            ours=_with(before.ours, keys, frozenset(ours)),
            foreign=_with(before.foreign, keys, frozenset(foreign)),
        )


def _with(
    before: frozenset[ObjectKey], judged: frozenset[ObjectKey], found: frozenset[ObjectKey]
) -> frozenset[ObjectKey]:
    """*before*, where of the keys that were *judged* exactly those that were *found* are in it."""
    return before if before & judged == found else before - judged | found


def judge_ownership(snapshot: Snapshot, options: TranslateOptions | None = None) -> Ownership:
    """Judge the Ingresses of *snapshot* as the translator does. Those that are being deleted are left out."""
    return OwnershipJudge(options).judge(snapshot)


def _is_anothers(ingress: Ingress, table: ClassTable, options: TranslateOptions) -> bool:
    legacy = ingress.metadata.annotations.get(LEGACY_CLASS)
    if legacy is not None:
        return legacy != options.ingress_class
    return table.ours.get(ingress.spec.ingress_class_name or "") is False
