"""The front for Ingresses: which of them are ours, and what each claims.

Each Ingress is read in isolation, and only when a change touches it: of the Ingress, of its class, of its
Namespace where namespaces are chosen by label, and of what its dialects looked up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, TypeVar

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.facts import fact_logger
from ingresskit.graph import ANY_HOST, HostRefused, rule_host
from ingresskit.models import (
    Ingress,
    IngressClass,
    KubeObject,
    Namespace,
    ObjectKey,
    ObjectRef,
    Snapshot,
    SnapshotChanges,
)
from ingresskit.policies import ForeignAnnotations, PolicyRegistry, Reading
from ingresskit.translate.claims import Claimant
from ingresskit.translate.ingress.classes import ClassTable
from ingresskit.translate.ingress.rules import not_ours, read_ingress
from ingresskit.translate.ingress.trimming import trimmed
from ingresskit.translate.lookups import LookedUp, Lookups
from ingresskit.translate.options import TranslateOptions

__all__ = ["IngressFront"]

K = TypeVar("K")

_logger = fact_logger(__name__)


class _Read(NamedTuple):
    """What an Ingress was read with.

    Attributes:
        named: The class in its spec.
    """

    named: str | None
    looked_up: tuple[LookedUp, ...]


class IngressFront:
    """Reads the Ingresses of one snapshot after another: a `Front`.

    Args:
        options: Which Ingresses are ours, which annotations are understood, how much one may ask for.
        foreign: Judges the annotations of other controllers.

    Attributes:
        classes: The IngressClasses of the last snapshot, and their faults.
        claimants: By Ingress.
    """

    def __init__(self, options: TranslateOptions, foreign: ForeignAnnotations) -> None:
        self._options = options
        self._foreign = foreign
        self.kinds: tuple[type[KubeObject], ...] = (
            *(Ingress, IngressClass, Namespace),
            *sorted(options.policies.kinds, key=lambda kind: kind.kind),
        )
        self.claim_kinds: frozenset[str] = frozenset({Ingress.kind})
        self.classes: ClassTable = ClassTable()
        self.claimants: dict[ObjectRef, Claimant] = {}
        self._by_labels = options.scope.namespace_selector is not None
        self._read: dict[ObjectKey, _Read] = {}
        self._by_class: dict[str | None, set[ObjectKey]] = {}
        self._by_namespace: dict[str, set[ObjectKey]] = {}
        self._by_look_up: dict[tuple[type[KubeObject], ObjectKey], set[ObjectKey]] = {}

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The faults of IngressClasses of ours."""
        return self.classes.diagnostics

    def advance(self, snapshot: Snapshot, changes: SnapshotChanges) -> Collection[ObjectRef]:
        """Read the Ingresses that changed, and those that something changed for."""
        dirty = set(changes.of(Ingress))
        if changes.of(IngressClass):
            dirty.update(self._of_other_classes(snapshot))
        if self._by_labels:
            for key in changes.of(Namespace):
                dirty.update(self._by_namespace.get(key.name, ()))
        if self._by_look_up:
            for kind in self._options.policies.kinds:
                for key in changes.of(kind):
                    dirty.update(self._by_look_up.get((kind, key), ()))
        for key in dirty:
            self._forget(key)
            ingress = snapshot.get(Ingress, key)
            if ingress is None:
                self.claimants.pop(ObjectRef(Ingress.kind, key), None)
                continue
            namespace = snapshot.get(Namespace, ObjectKey("", key.namespace)) if self._by_labels else None
            lookups = Lookups(snapshot)
            self.claimants[ingress.ref] = self._claimant(ingress, namespace, lookups)
            self._remember(key, _Read(ingress.spec.ingress_class_name, lookups.found))
        return [ObjectRef(Ingress.kind, key) for key in dirty]

    def _of_other_classes(self, snapshot: Snapshot) -> set[ObjectKey]:
        """The Ingresses that another table of classes may be judged otherwise by."""
        before, after = self.classes, ClassTable.of(snapshot.by_key(IngressClass), self._options)
        self.classes = after
        names = before.ours.keys() | after.ours.keys()
        concerned: set[str | None] = {name for name in names if before.ours.get(name) != after.ours.get(name)}
        if before.default != after.default or after.default in concerned:
            concerned.add(None)
        return {key for name in concerned for key in self._by_class.get(name, ())}

    def _remember(self, key: ObjectKey, read: _Read) -> None:
        self._read[key] = read
        self._by_class.setdefault(read.named, set()).add(key)
        if self._by_labels:
            self._by_namespace.setdefault(key.namespace, set()).add(key)
        for kind, name, _ in read.looked_up:
            self._by_look_up.setdefault((kind, name), set()).add(key)

    def _forget(self, key: ObjectKey) -> None:
        read = self._read.pop(key, None)
        if read is None:
            return
        _discard(self._by_class, read.named, key)
        if self._by_labels:
            _discard(self._by_namespace, key.namespace, key)
        for kind, name, _ in read.looked_up:
            _discard(self._by_look_up, (kind, name), key)

    def _claimant(self, ingress: Ingress, namespace: Namespace | None, lookups: Lookups) -> Claimant:
        labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
        verdict = self.classes.judge(ingress, labels, self._options)
        if not verdict.ours:
            undecided = _hosts_in_doubt(ingress) if verdict.undecided else frozenset[tuple[str, str]]()
            return not_ours(ingress, verdict.why, verdict.diagnostics, undecided)
        try:
            claimant = self._served(ingress, lookups)
        except Exception:
            # A dialect or policy of the integrator's own may raise anything; one object pays for it.
            _logger.exception("ingress could not be read", extra={"ingress": str(ingress.key)})
            claimant = _closed(ingress)
        if verdict.diagnostics:
            claimant = replace(claimant, diagnostics=verdict.diagnostics + claimant.diagnostics)
        return claimant

    def _served(self, ingress: Ingress, lookups: Lookups) -> Claimant:
        options = self._options
        within = trimmed(ingress, options.budgets)
        claimant = read_ingress(
            within.ingress,
            options.policies,
            self._foreign,
            host_fallthrough=options.host_fallthrough,
            paths=options.paths,
            objects=lookups,
        )
        if not within.diagnostics:
            return claimant
        return replace(
            claimant,
            undecided=_hosts_in_doubt(ingress),
            diagnostics=within.diagnostics + claimant.diagnostics,
            unserved=within.unserved + claimant.unserved,
        )


def _discard(index: dict[K, set[ObjectKey]], value: K, key: ObjectKey) -> None:
    keys = index.get(value, set())
    keys.discard(key)
    if not keys:
        index.pop(value, None)


def _hosts_in_doubt(ingress: Ingress) -> frozenset[tuple[str, str]]:
    """The namespace with each host of an Ingress that may have claims which are not served now."""
    hosts: set[str] = set()
    for rule in ingress.spec.rules:
        with suppress(HostRefused):
            hosts.add(rule_host(rule.host))
    if not ingress.spec.rules:
        hosts.add(ANY_HOST)
    return frozenset((ingress.metadata.namespace, host) for host in hosts)


def _closed(ingress: Ingress) -> Claimant:
    """The claimant of an Ingress whose annotations cannot be read: its paths stay its own and respond 503.

    Were it left out, a wider rule would take its requests without the protection that the annotations may
    have asked for, and another namespace could take its hosts.
    """
    message = (
        "its annotations could not be read because of a fault in this program or in an extension of it; see"
        " the log. Its routes respond 503"
    )
    fault = Diagnostic(
        subject=ingress.ref, field="metadata.annotations", reason=Reason.INTERNAL_ERROR, message=message
    )
    claimant = read_ingress(ingress, PolicyRegistry(()))
    return replace(
        claimant,
        policies=Reading(diagnostics=(fault,), protection_fault=fault),
        diagnostics=(*claimant.diagnostics, fault),
    )
