"""How much one object and one namespace may ask for: what is over it is not served, and reported.

A proxy has the memory that its operator gave it; hosts and paths that one tenant asks for must not take
that of all others. The oldest part stays: the rules at the start of an Ingress, the older Ingresses of a
namespace, so that adding one never costs what is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import NamedTuple

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.errors import ConfigurationError
from ingresskit.graph import Unserved
from ingresskit.models import Ingress, IngressRule, IngressTLS, ObjectKey
from ingresskit.policies import Origin
from ingresskit.translate.rules import Fragment

__all__ = ["Budgets", "NamespaceBudgets", "Trimmed", "trimmed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The most that is served of one Ingress, and of one namespace; ``None``: no limit.

    Attributes:
        hosts_per_ingress: Different hosts in the rules of an Ingress, and as many in its ``tls``.
        paths_per_ingress: Paths in all rules of an Ingress.
        ingresses_per_namespace: Ingresses that are ours.
        hosts_per_namespace: Different hosts in the rules of these.

    Raises:
        ConfigurationError: A number is less than 1.
    """

    hosts_per_ingress: int | None = 1000
    paths_per_ingress: int | None = 10_000
    ingresses_per_namespace: int | None = None
    hosts_per_namespace: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value: int | None = getattr(self, item.name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{item.name} must be at least 1, not {value}")


class Trimmed(NamedTuple):
    """An Ingress within its budget.

    Attributes:
        ingress: The same object when nothing was over.
        diagnostics: One for each budget that was exceeded.
        unserved: One for the rules that are left out, at the first of them.
    """

    ingress: Ingress
    diagnostics: tuple[Diagnostic, ...] = ()
    unserved: tuple[Unserved, ...] = ()


def trimmed(ingress: Ingress, budgets: Budgets) -> Trimmed:
    """*ingress* without the rules and TLS hosts that are over its budget."""
    spec = ingress.spec
    rules = tuple(_affordable(spec.rules, budgets))
    tls = tuple(_affordable_tls(spec.tls, budgets.hosts_per_ingress))
    diagnostics: list[Diagnostic] = []
    unserved: list[Unserved] = []
    if len(rules) < len(spec.rules):
        place = f"spec.rules[{len(rules)}]"
        message = (
            f"the Ingress has {len(spec.rules)} rules, which exceed its budget of {_budget(budgets)};"
            f" the first {len(rules)} of them are served"
        )
        diagnostics.append(_exceeded(ingress, place, message))
        unserved.append(
            Unserved(
                origin=Origin(ingress.ref, place),
                host=spec.rules[len(rules)].host or "*",
                reason=Reason.BUDGET_EXCEEDED,
                message=message,
            )
        )
    if tls != spec.tls:
        message = f"spec.tls names more than {budgets.hosts_per_ingress} hosts; the first ones get certificates"
        diagnostics.append(_exceeded(ingress, "spec.tls", message))
    if not diagnostics:
        return Trimmed(ingress)
    return Trimmed(
        replace(ingress, spec=replace(spec, rules=rules, tls=tls)), tuple(diagnostics), tuple(unserved)
    )


class NamespaceBudgets:
    """Finds the Ingresses that are over the budget of their namespace, and remembers what became of them.

    Args:
        budgets: The limits; those of namespaces count here.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._refused: Mapping[ObjectKey, tuple[Fragment, Fragment]] = {}

    @property
    def limited(self) -> bool:
        """Whether any namespace can be over its budget."""
        return (
            self._budgets.ingresses_per_namespace is not None or self._budgets.hosts_per_namespace is not None
        )

    def refused(self, oldest_first: Iterable[Fragment]) -> dict[ObjectKey, Fragment]:
        """For each Ingress that is over the budget, a fragment that claims nothing and says so."""
        asked: dict[str, _Asked] = {}
        after: dict[ObjectKey, tuple[Fragment, Fragment]] = {}
        for fragment in oldest_first:
            ingress = fragment.ingress
            over = asked.setdefault(ingress.metadata.namespace, _Asked()).add(fragment, self._budgets)
            if over is None:
                continue
            held = self._refused.get(ingress.key)
            if held is None or held[0] is not fragment:
                held = (fragment, Fragment(ingress=ingress, diagnostics=(_over_namespace(ingress, *over),)))
            after[ingress.key] = held
        self._refused = after
        return {key: claimless for key, (_, claimless) in after.items()}


class _Asked:
    """What the Ingresses of one namespace that are served ask for."""

    __slots__ = ("hosts", "ingresses")

    def __init__(self) -> None:
        self.ingresses = 0
        self.hosts: set[str] = set()

    def add(self, fragment: Fragment, budgets: Budgets) -> tuple[str, int] | None:
        """Count an Ingress in; what it would exceed, and the limit, when it is left out."""
        most = budgets.ingresses_per_namespace
        if most is not None and self.ingresses >= most:
            return "Ingresses", most
        most = budgets.hosts_per_namespace
        if most is not None:
            more = fragment.hosts.keys() - self.hosts
            if len(self.hosts) + len(more) > most:
                return "hosts", most
            self.hosts |= more
        self.ingresses += 1
        return None


def _over_namespace(ingress: Ingress, what: str, most: int) -> Diagnostic:
    message = (
        f"namespace {ingress.metadata.namespace} asks for more than its budget of {most} {what};"
        " its older Ingresses are served, this one is not"
    )
    return _exceeded(ingress, "metadata.namespace", message)


def _affordable(rules: tuple[IngressRule, ...], budgets: Budgets) -> Iterator[IngressRule]:
    hosts: set[str | None] = set()
    paths = 0
    for rule in rules:
        hosts.add(rule.host)
        paths += len(rule.http.paths) if rule.http else 0
        if budgets.hosts_per_ingress is not None and len(hosts) > budgets.hosts_per_ingress:
            return
        if budgets.paths_per_ingress is not None and paths > budgets.paths_per_ingress:
            return
        yield rule


def _affordable_tls(entries: tuple[IngressTLS, ...], most: int | None) -> Iterator[IngressTLS]:
    left = most
    for entry in entries:
        if left is None or not entry.hosts:
            yield entry
        elif left > 0:
            hosts = tuple(islice(entry.hosts, left))
            left -= len(hosts)
            yield entry if len(hosts) == len(entry.hosts) else replace(entry, hosts=hosts)


def _budget(budgets: Budgets) -> str:
    limits = ((budgets.hosts_per_ingress, "hosts"), (budgets.paths_per_ingress, "paths"))
    return " and ".join(f"{most} {what}" for most, what in limits if most is not None)


def _exceeded(ingress: Ingress, place: str, message: str) -> Diagnostic:
    return Diagnostic(subject=ingress.ref, field=place, reason=Reason.BUDGET_EXCEEDED, message=message)
