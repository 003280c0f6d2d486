"""Whose the Ingresses of a snapshot are, as far as their status is concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingresskit.models import Ingress, IngressClass, Namespace, ObjectKey, Snapshot
from ingresskit.translate import TranslateOptions
from ingresskit.translate.ingress.classes import LEGACY_CLASS, ClassTable

__all__ = ["Ownership", "judge_ownership"]


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


def judge_ownership(snapshot: Snapshot, options: TranslateOptions | None = None) -> Ownership:
    """Judge the Ingresses of *snapshot* as the translator does. Those that are being deleted are left out."""
    options = options or TranslateOptions()
    table = ClassTable.of(snapshot.by_key(IngressClass), options)
    namespaces = snapshot.by_key(Namespace)
    ours: list[ObjectKey] = []
    foreign: list[ObjectKey] = []
    for key, ingress in snapshot.by_key(Ingress).items():
        if ingress.metadata.deletion_timestamp is not None:
            continue
        namespace = namespaces.get(ObjectKey("", key.namespace))
        labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
        if table.judge(ingress, labels, options).ours:
            ours.append(key)
        elif _is_anothers(ingress, table, options):
            foreign.append(key)
    return Ownership(ours=frozenset(ours), foreign=frozenset(foreign))


def _is_anothers(ingress: Ingress, table: ClassTable, options: TranslateOptions) -> bool:
    legacy = ingress.metadata.annotations.get(LEGACY_CLASS)
    if legacy is not None:
        return legacy != options.ingress_class
    return table.ours.get(ingress.spec.ingress_class_name or "") is False
