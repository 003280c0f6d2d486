"""Saying what changed: diagnostics that came and went, in the log; and the facts of events."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from ingresskit.diagnostics import Diagnostic, Severity
from ingresskit.facts import fact_logger
from ingresskit.graph import RouteGraph, diff

__all__ = ["DiagnosticsLog", "graph_facts"]

_logger = fact_logger(__name__)

_MOST_LINES = 100


class DiagnosticsLog:
    """Remembers which diagnostics are in force, and logs each once when it appears and once when it goes.

    At most 100 lines are written per pass and direction; the rest is counted in one more line. The
    admin API holds them all.
    """

    def __init__(self) -> None:
        self._held: tuple[Diagnostic, ...] = ()

    @property
    def held(self) -> tuple[Diagnostic, ...]:
        """Those in force, sorted."""
        return self._held

    def update(self, diagnostics: tuple[Diagnostic, ...]) -> dict[str, object] | None:
        """Hold *diagnostics* and log the difference.

        Returns:
            The facts of a diagnostics event, or ``None`` when nothing changed.
        """
        if diagnostics == self._held:
            return None
        before, now = set(self._held), set(diagnostics)
        appeared = [item for item in diagnostics if item not in before]
        gone = [item for item in self._held if item not in now]
        self._held = diagnostics
        _log(logging.WARNING, "diagnostic appeared", appeared)
        _log(logging.INFO, "diagnostic gone", gone)
        counts = Counter(item.severity for item in diagnostics)
        return {
            "appeared": len(appeared),
            "gone": len(gone),
            "errors": counts[Severity.ERROR],
            "warnings": counts[Severity.WARNING],
        }


def _log(level: int, what: str, diagnostics: list[Diagnostic]) -> None:
    if not _logger.isEnabledFor(level):
        return
    for item in diagnostics[:_MOST_LINES]:
        _logger.log(level, what, extra=_facts(item))
    if len(diagnostics) > _MOST_LINES:
        _logger.log(level, f"{what}, and more", extra={"more": len(diagnostics) - _MOST_LINES})  # noqa: G004 - fixed words


def _facts(item: Diagnostic) -> dict[str, object]:
    # Not "name" and "message": logging keeps those words for itself.
    return {
        "severity": str(item.severity),
        "reason": str(item.reason),
        "kind": item.subject.kind,
        "namespace": item.subject.key.namespace,
        "object": item.subject.key.name,
        "field": item.field,
        "text": item.message,
    }


def graph_facts(old: RouteGraph | None, new: RouteGraph) -> dict[str, object] | None:
    """The facts of a graph event: how many parts of each plane changed; ``None`` when none did."""
    changes = diff(old or RouteGraph(), new)
    # Unserved rules are not served, but /api/graph and explain show them.
    if old is not None and not changes and old.unserved == new.unserved:
        return None
    planes: Iterable[tuple[str, int]] = (
        ("hosts", len(changes.hosts)),
        ("backends", len(changes.backends)),
        ("certificates", len(changes.certificates)),
        ("serverNames", len(changes.server_names)),
    )
    return {**dict(planes), "endpointsOnly": changes.endpoints_only}
