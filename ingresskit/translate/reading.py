"""The first step of translation: each Ingress alone. Is it ours, and what does it claim?

Kept while the Ingress, the classes and, where namespaces are chosen by label, its Namespace stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.facts import fact_logger
from ingresskit.models import Ingress, IngressClass, Namespace, ObjectKey, Snapshot, age_order
from ingresskit.policies import ForeignAnnotations, ParsedPolicies, PolicyRegistry
from ingresskit.translate.budgets import NamespaceBudgets, trimmed
from ingresskit.translate.classes import ClassTable
from ingresskit.translate.options import TranslateOptions
from ingresskit.translate.rules import Fragment, not_ours, read_ingress
from ingresskit.translate.unseen import hosts_in_doubt

__all__ = ["IngressReader", "Judged", "precedence"]

_logger = fact_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A fragment, the Namespace that was looked at for it, and its place by age.

    Attributes:
        why: Why it is not ours; empty when it is.
        undecided: The namespace with each of its hosts, while nobody knows whose the Ingress is, and while it
            is over a budget: such claims keep a host that is held, and win none.
    """

    fragment: Fragment
    namespace: Namespace | None
    why: str = ""
    age: tuple[datetime, str, str, str]
    undecided: frozenset[tuple[str, str]] = frozenset()

    @property
    def ours(self) -> bool:
        """Whether its class, namespace and labels are ours."""
        return not self.why


def precedence(item: Judged) -> tuple[bool, tuple[datetime, str, str, str]]:
    """Whose claims win: the oldest; canaries after all others, whatever their age."""
    return item.fragment.canary, item.age


class IngressReader:
    """Reads the Ingresses of one snapshot after another, and remembers what became of each.

    Args:
        options: Which are ours, which annotations are understood, how much one may ask for.
        foreign: Judges the annotations of other controllers.

    Attributes:
        classes: The IngressClasses of the last snapshot, and what is wrong with them.
    """

    def __init__(self, options: TranslateOptions, foreign: ForeignAnnotations) -> None:
        self._options = options
        self._foreign = foreign
        self._budgets = NamespaceBudgets(options.budgets)
        self._class_objects: Mapping[ObjectKey, IngressClass] | None = None
        self.classes: ClassTable = ClassTable()
        self._fragments: dict[ObjectKey, Judged] = {}

    def read(self, snapshot: Snapshot) -> list[Judged]:
        """Every Ingress of *snapshot*, in no particular order; those over a budget claim nothing."""
        classes = snapshot.by_key(IngressClass)
        if classes is not self._class_objects:
            table = ClassTable.of(classes, self._options)
            if table != self.classes:
                self.classes = table
                self._fragments = {}
            self._class_objects = classes
        namespaces: Mapping[ObjectKey, Namespace] = {}
        if self._options.scope.namespace_selector is not None:
            namespaces = snapshot.by_key(Namespace)
        before, after = self._fragments, dict[ObjectKey, Judged]()
        for key, ingress in snapshot.by_key(Ingress).items():
            namespace = namespaces.get(ObjectKey("", key.namespace))
            known = before.get(key)
            if known is None or known.fragment.ingress is not ingress or known.namespace is not namespace:
                known = self._judge(ingress, namespace)
            after[key] = known
        self._fragments = after
        return self._affordable(list(after.values()))

    def _judge(self, ingress: Ingress, namespace: Namespace | None) -> Judged:
        labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
        verdict = self.classes.judge(ingress, labels, self._options)
        if not verdict.ours:
            fragment = not_ours(ingress, verdict.why, verdict.diagnostics)
            undecided = hosts_in_doubt(ingress) if verdict.undecided else frozenset[tuple[str, str]]()
            return Judged(
                fragment=fragment,
                namespace=namespace,
                why=verdict.why,
                age=age_order(ingress),
                undecided=undecided,
            )
        unseen = frozenset[tuple[str, str]]()
        try:
            options = self._options
            within = trimmed(ingress, options.budgets)
            fragment = read_ingress(
                within.ingress,
                options.policies,
                self._foreign,
                host_fallthrough=options.host_fallthrough,
                paths=options.paths,
            )
            if within.diagnostics:
                unseen = hosts_in_doubt(ingress)
                fragment = replace(
                    fragment,
                    ingress=ingress,
                    diagnostics=within.diagnostics + fragment.diagnostics,
                    unserved=within.unserved + fragment.unserved,
                )
        except Exception:
            # A dialect or policy of the integrator's own may raise anything; one object pays for it.
            _logger.exception("ingress could not be read", extra={"ingress": str(ingress.key)})
            fragment = _closed(ingress)
        if verdict.diagnostics:
            fragment = replace(fragment, diagnostics=verdict.diagnostics + fragment.diagnostics)
        return Judged(fragment=fragment, namespace=namespace, age=age_order(ingress), undecided=unseen)

    def _affordable(self, fragments: list[Judged]) -> list[Judged]:
        """*fragments*, of which those over the budget of their namespace claim nothing."""
        if not self._budgets.limited:
            return fragments
        ours = sorted((item for item in fragments if item.ours), key=precedence)
        refused = self._budgets.refused(item.fragment for item in ours)
        return [
            replace(item, fragment=refused[key], undecided=hosts_in_doubt(item.fragment.ingress))
            if (key := item.fragment.ingress.key) in refused
            else item
            for item in fragments
        ]


def _closed(ingress: Ingress) -> Fragment:
    """An Ingress whose annotations nobody could read: it keeps its hosts and paths, and all answer 503.

    Were it left out, a wider rule would take its requests without what may have protected them, and
    another namespace its hosts.
    """
    message = (
        "its annotations could not be read because of a fault in this program or in an extension of it; see"
        " the log. Its routes respond 503"
    )
    fault = Diagnostic(
        subject=ingress.ref, field="metadata.annotations", reason=Reason.INTERNAL_ERROR, message=message
    )
    fragment = read_ingress(ingress, PolicyRegistry(()))
    return replace(
        fragment,
        policies=ParsedPolicies(diagnostics=(fault,), protection_fault=fault),
        diagnostics=(*fragment.diagnostics, fault),
    )
