"""Cuts one Ingress down to its budget: the rules and TLS hosts at its start stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import Unserved
from ingresskit.models import Ingress, IngressRule, IngressTLS
from ingresskit.policies import Origin
from ingresskit.translate.budgets import Budgets

__all__ = ["Trimmed", "trimmed"]


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
