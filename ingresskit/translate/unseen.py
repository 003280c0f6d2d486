"""Claims that may exist although the translator cannot see them now: they keep a host, and win none.

An object that cannot be read, one whose class is missing, and one that is over a budget must not cost its
namespace a host: the fault passes, and the host would belong to another namespace by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from ingresskit.errors import DecodeError, ProblemCause
from ingresskit.models import Namespace

__all__ = ["UnseenClaims", "namespaces_in_doubt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenClaims:
    """Where claims may be unseen.

    Attributes:
        namespaces: Those some of whose objects cannot be read; an empty name stands for all.
        hosts: Namespaces with hosts of theirs, from `Claimant.undecided`.
    """

    namespaces: frozenset[str] = frozenset()
    hosts: frozenset[tuple[str, str]] = frozenset()

    def may_be(self, namespace: str, host: str) -> bool:
        """Whether *namespace* may have a claim on *host* that is not seen."""
        return namespace in self.namespaces or "" in self.namespaces or (namespace, host) in self.hosts


def namespaces_in_doubt(problems: Iterable[DecodeError], kinds: Set[str], *, by_labels: bool) -> frozenset[str]:
    """The namespaces some of whose claimants cannot be read or judged; an empty name stands for all.

    Args:
        problems: What the source could not read.
        kinds: The kinds of objects that make claims.
        by_labels: Whether the labels of Namespaces say which objects are ours.
    """
    found: set[str] = set()
    for problem in problems:
        if problem.cause is ProblemCause.WRITE_REFUSED:
            continue
        if problem.kind in kinds and (problem.namespace or problem.name == "*"):
            found.add(problem.namespace)
        elif problem.kind == Namespace.kind and by_labels:
            found.add("" if problem.name == "*" else problem.name)
    return frozenset(found)
