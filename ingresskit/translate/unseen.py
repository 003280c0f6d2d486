"""Claims that may be there although nobody can see them now: they keep a host, and win none.

An Ingress that cannot be read, one whose class is missing, and one that is over a budget must not cost its
namespace a host: the fault passes, and the host would be another's by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from ingresskit.errors import DecodeError, ProblemCause
from ingresskit.graph import ANY_HOST, HostRefused, rule_host
from ingresskit.models import Ingress, Namespace

__all__ = ["UnseenClaims", "hosts_in_doubt", "namespaces_in_doubt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenClaims:
    """Where claims may be unseen.

    Attributes:
        namespaces: Those some of whose Ingresses cannot be read; an empty name stands for all.
        hosts: Namespaces with the hosts of their Ingresses whose class is missing, or that are over a budget.
    """

    namespaces: frozenset[str] = frozenset()
    hosts: frozenset[tuple[str, str]] = frozenset()

    def may_be(self, namespace: str, host: str) -> bool:
        """Whether *namespace* may have a claim on *host* that is not seen."""
        return namespace in self.namespaces or "" in self.namespaces or (namespace, host) in self.hosts


def namespaces_in_doubt(problems: Iterable[DecodeError], *, by_labels: bool) -> frozenset[str]:
    """The namespaces some of whose Ingresses cannot be read or judged; an empty name stands for all.

    Args:
        problems: What the source could not read.
        by_labels: Whether the labels of Namespaces say which Ingresses are ours.
    """
    found: set[str] = set()
    for problem in problems:
        if problem.cause is ProblemCause.WRITE_REFUSED:
            continue
        if problem.kind == Ingress.kind and (problem.namespace or problem.name == "*"):
            found.add(problem.namespace)
        elif problem.kind == Namespace.kind and by_labels:
            found.add("" if problem.name == "*" else problem.name)
    return frozenset(found)


def hosts_in_doubt(ingress: Ingress) -> frozenset[tuple[str, str]]:
    """The namespace with each host of an Ingress whose claims are not seen."""
    hosts: set[str] = set()
    for rule in ingress.spec.rules:
        with suppress(HostRefused):
            hosts.add(rule_host(rule.host))
    if not ingress.spec.rules:
        hosts.add(ANY_HOST)
    return frozenset((ingress.metadata.namespace, host) for host in hosts)
