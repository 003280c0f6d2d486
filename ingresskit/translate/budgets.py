"""How much one object and one namespace may ask for: what is over it is not served, and reported.

A proxy has the memory that its operator gave it; hosts and paths that one tenant asks for must not take
that of all others. The oldest part stays: the rules at the start of an Ingress, the older Ingresses of a
namespace, so that adding one never costs what is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ingresskit._checks import check_settings
from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import ANY_HOST
from ingresskit.models import ObjectRef
from ingresskit.translate.claims import Age, Claimant

__all__ = ["Budgets", "NamespaceBudgets"]


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
        check_settings(self)


class _Over(NamedTuple):
    """A claimant over a budget, which budget that is, and the claimant without claims in its place."""

    claimant: Claimant
    budget: tuple[str, int]
    claimless: Claimant


class NamespaceBudgets:
    """Finds the claimants that are over the budget of their namespace.

    Args:
        budgets: The limits; those of namespaces count here.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._limited = (budgets.ingresses_per_namespace, budgets.hosts_per_namespace) != (None, None)
        self._members: dict[str, dict[ObjectRef, Claimant]] = {}
        self._over: dict[ObjectRef, _Over] = {}

    def within(self, changed: Mapping[ObjectRef, Claimant | None]) -> Mapping[ObjectRef, Claimant | None]:
        """What becomes of these claimants, and of others in their namespaces that gain or lose by it.

        Args:
            changed: The claimants that are new or other objects; ``None``: gone.

        Returns:
            *changed* and more, with a claimant in the place of each that is over the budget, which claims
            nothing and says so.
        """
        if not self._limited:
            return changed
        after = dict(changed)
        for ref, claimant in changed.items():
            members = self._members.setdefault(ref.key.namespace, {})
            members.pop(ref, None)
            if claimant is None or claimant.not_ours:
                self._over.pop(ref, None)
            else:
                members[ref] = claimant
        for namespace in {ref.key.namespace for ref in changed}:
            asked = _Asked()
            members = self._members[namespace]
            for claimant in sorted(members.values(), key=_precedence):
                over = asked.add(claimant, self._budgets)
                before = self._over.pop(claimant.ref, None)
                if over is None:
                    if before is not None:
                        after[claimant.ref] = claimant
                    continue
                if before is None or before.claimant is not claimant or before.budget != over:
                    before = _Over(claimant, over, _refused(claimant, *over))
                    after[claimant.ref] = before.claimless
                self._over[claimant.ref] = before
            if not members:
                del self._members[namespace]
        return after


def _precedence(claimant: Claimant) -> tuple[bool, Age, str]:
    return claimant.precedence


def _refused(claimant: Claimant, what: str, most: int) -> Claimant:
    """A claimant without claims in place of *claimant*, whose hosts stay in doubt."""
    namespace = claimant.namespace
    message = (
        f"namespace {namespace} asks for more than its budget of {most} {what};"
        " its older Ingresses are served, this one is not"
    )
    hosts = (ANY_HOST,) if claimant.catch_all else claimant.hosts
    return Claimant(
        ref=claimant.ref,
        age=claimant.age,
        canary=claimant.canary,
        diagnostics=(
            Diagnostic(
                subject=claimant.ref,
                field="metadata.namespace",
                reason=Reason.BUDGET_EXCEEDED,
                message=message,
            ),
        ),
        undecided=claimant.undecided | {(namespace, host) for host in hosts},
    )


class _Asked:
    """What the claimants of one namespace that are served ask for."""

    __slots__ = ("hosts", "ingresses")

    def __init__(self) -> None:
        self.ingresses = 0
        self.hosts: set[str] = set()

    def add(self, claimant: Claimant, budgets: Budgets) -> tuple[str, int] | None:
        """Count a claimant in; what it would exceed, and the limit, when it is left out."""
        most = budgets.ingresses_per_namespace
        if most is not None and self.ingresses >= most:
            return "Ingresses", most
        most = budgets.hosts_per_namespace
        if most is not None:
            more = claimant.hosts.keys() - self.hosts
            if len(self.hosts) + len(more) > most:
                return "hosts", most
            self.hosts |= more
        self.ingresses += 1
        return None
