"""The front for Ingresses: which of them are ours, and what each claims.

Each Ingress is read in isolation. Its claimant is kept while the Ingress, the classes and, where namespaces
are chosen by label, its Namespace stay, and while what its dialects looked up for it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.facts import fact_logger
from ingresskit.graph import ANY_HOST, HostRefused, rule_host
from ingresskit.models import Ingress, IngressClass, KubeObject, Namespace, ObjectKey, Snapshot
from ingresskit.policies import ForeignAnnotations, PolicyRegistry, Reading
from ingresskit.translate.claims import Claimant
from ingresskit.translate.ingress.classes import ClassTable
from ingresskit.translate.ingress.rules import not_ours, read_ingress
from ingresskit.translate.ingress.trimming import trimmed
from ingresskit.translate.lookups import LookedUp, Lookups, still_so
from ingresskit.translate.options import TranslateOptions

__all__ = ["IngressFront"]

_logger = fact_logger(__name__)


class _Read(NamedTuple):
    """A claimant and the objects that it was read from."""

    ingress: Ingress
    namespace: Namespace | None
    looked_up: tuple[LookedUp, ...]
    claimant: Claimant


class IngressFront:
    """Reads the Ingresses of one snapshot after another: a `Front`.

    Args:
        options: Which Ingresses are ours, which annotations are understood, how much one may ask for.
        foreign: Judges the annotations of other controllers.

    Attributes:
        classes: The IngressClasses of the last snapshot, and their faults.
    """

    def __init__(self, options: TranslateOptions, foreign: ForeignAnnotations) -> None:
        self._options = options
        self._foreign = foreign
        self._class_objects: Mapping[ObjectKey, IngressClass] | None = None
        self.classes: ClassTable = ClassTable()
        self.kinds: tuple[type[KubeObject], ...] = (
            *(Ingress, IngressClass, Namespace),
            *sorted(options.policies.kinds, key=lambda kind: kind.kind),
        )
        self.claim_kinds: frozenset[str] = frozenset({Ingress.kind})
        self._read: dict[ObjectKey, _Read] = {}

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The faults of IngressClasses of ours."""
        return self.classes.diagnostics

    def read(self, snapshot: Snapshot) -> Iterable[Claimant]:
        """A claimant for every Ingress of *snapshot*, in no order."""
        classes = snapshot.by_key(IngressClass)
        if classes is not self._class_objects:
            table = ClassTable.of(classes, self._options)
            if table != self.classes:
                self.classes = table
                self._read = {}
            self._class_objects = classes
        namespaces: Mapping[ObjectKey, Namespace] = {}
        if self._options.scope.namespace_selector is not None:
            namespaces = snapshot.by_key(Namespace)
        before, after = self._read, dict[ObjectKey, _Read]()
        for key, ingress in snapshot.by_key(Ingress).items():
            namespace = namespaces.get(ObjectKey("", key.namespace))
            known = before.get(key)
            if (
                known is None
                or known.ingress is not ingress
                or known.namespace is not namespace
                or (known.looked_up and not still_so(snapshot, known.looked_up))
            ):
                lookups = Lookups(snapshot)
                claimant = self._claimant(ingress, namespace, lookups)
                known = _Read(ingress, namespace, lookups.found, claimant)
            after[key] = known
        self._read = after
        return [item.claimant for item in after.values()]

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
