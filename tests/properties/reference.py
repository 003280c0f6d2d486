"""A second matcher, as naive as the text it follows: KEP-1453, "Path matching" and "Wildcard host".

It knows nothing of the code under test: it takes rules as written and compares element by element.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class WrittenRule:
    """One path of one rule, as its author wrote it; *owner* says whose it is. No *kind*: no paths."""

    host: str
    kind: str
    path: str
    owner: str


def elements(path: str) -> list[str]:
    """ "Path elements refer to the list of labels in the path split by the '/' separator."""
    return [element for element in path.split("/") if element != ""]


def takes_host(rule_host: str, host: str) -> int:
    """How well a rule's host takes a request's: 3 equal, 2 wildcard, 1 any, 0 not."""
    if rule_host == "":
        return 1
    if not rule_host.startswith("*."):
        return 3 if rule_host == host else 0
    labels, wanted = host.split("."), rule_host.split(".")
    return 2 if len(labels) == len(wanted) and labels[1:] == wanted[1:] and labels[0] != "" else 0


def takes_path(rule: WrittenRule, path: str) -> bool:
    if not rule.kind:
        return False
    if rule.kind == "Exact":
        return rule.path == path
    prefix = elements(rule.path)
    return elements(path)[: len(prefix)] == prefix


def winner(rules: Sequence[WrittenRule], host: str, path: str) -> WrittenRule | None:
    """Who takes a request. *rules* stand in the order in which they win conflicts."""
    host = host.lower().partition(":")[0].removesuffix(".")
    best = max((takes_host(rule.host, host) for rule in rules), default=0)
    if best == 0:
        return None
    return _best_path((rule for rule in rules if takes_host(rule.host, host) == best), path)


def _best_path(rules: Iterable[WrittenRule], path: str) -> WrittenRule | None:
    best: tuple[tuple[bool, int], WrittenRule] | None = None
    for rule in rules:
        if takes_path(rule, path):
            rank = (rule.kind == "Exact", len(elements(rule.path)))
            if best is None or rank > best[0]:
                best = (rank, rule)
    return best[1] if best else None
