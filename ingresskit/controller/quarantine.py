"""Objects that the proxy could not take: remembered, kept from it, and tried again once they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingresskit.controller.redact import redacted
from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import ObjectParts, RouteGraph, Withholding, parts_by_object, withhold
from ingresskit.models import ObjectRef

__all__ = ["Quarantine", "Refusal"]

_LONGEST_SAYING = 400
_EFFECTS = {
    Withholding.CHANGE: "what it had before stays served until it changes; new paths respond 503",
    Withholding.CONTENT: "its paths respond 503 until it changes",
    Withholding.EVERYTHING: "it is left out until it changes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an object is kept from the proxy, and how much of it.

    Attributes:
        saying: What the checker or the renderer said.
    """

    measure: Withholding
    saying: str

    def diagnostic(self, subject: ObjectRef) -> Diagnostic:
        """The diagnostic for its author."""
        saying = " ".join(redacted(self.saying).split())
        if len(saying) > _LONGEST_SAYING:
            saying = saying[: _LONGEST_SAYING - 1] + "…"
        return Diagnostic(
            subject=subject,
            field="",
            reason=Reason.PROXY_REFUSED,
            message=f"the proxy refuses its configuration ({saying}); {_EFFECTS[self.measure]}",
        )


class Quarantine:
    """Holds refusals for as long as their objects ask for the same."""

    def __init__(self) -> None:
        self._held: dict[ObjectRef, tuple[ObjectParts, Refusal]] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def measures(self) -> Mapping[ObjectRef, Withholding]:
        """How much of each object is kept back."""
        return {subject: refusal.measure for subject, (_, refusal) in self._held.items()}

    def add(self, graph: RouteGraph, refusals: Mapping[ObjectRef, Refusal]) -> None:
        """Keep objects back from now on, until what they contribute is not what it is in *graph*."""
        found = parts_by_object(graph)
        self._held.update(
            (subject, (found[subject], refusal)) for subject, refusal in refusals.items() if subject in found
        )

    def reduce(self, graph: RouteGraph, served: RouteGraph | None) -> tuple[RouteGraph, tuple[Diagnostic, ...]]:
        """*graph* without what is kept back, and diagnostics about that; forgets objects that changed."""
        if not self._held:
            return graph, ()
        found = parts_by_object(graph)
        self._held = {
            subject: (contribution, refusal)
            for subject, (contribution, refusal) in self._held.items()
            if found.get(subject) == contribution
        }
        diagnostics = tuple(refusal.diagnostic(subject) for subject, (_, refusal) in self._held.items())
        return withhold(graph, self.measures, served), diagnostics
