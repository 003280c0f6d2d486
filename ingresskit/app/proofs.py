"""What `migrate prove` found, as text, JSON, Markdown and SARIF: of the model, and of two edges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingresskit import __version__
from ingresskit.app.tables import one_line, table
from ingresskit.graph import Request
from ingresskit.migrate import Agreement, LiveProof, Proof
from ingresskit.models import ObjectRef

__all__ = ["ProofReport", "report_of", "request_text", "sarif"]

_LEVELS = {
    Agreement.LOST: "error",
    Agreement.DIFFERENT: "warning",
    Agreement.VARIES: "warning",
    Agreement.SAME: "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    agreement: Agreement
    request: Request
    ingress: ObjectRef | None
    why: str
    there: str
    here: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """A proof in the form that all outputs are made of.

    Attributes:
        asked: How many requests there were.
        same: How many are answered alike.
        rows: The differences.
        by_ingress: For each Ingress how many are the same, and not.
        unsent: Why other requests were not sent, and how many; empty without edges.
    """

    asked: int
    same: int
    rows: tuple[_Row, ...]
    by_ingress: Mapping[ObjectRef, tuple[int, int]]
    unsent: Mapping[str, int] = field(default_factory=dict[str, int])

    def text(self) -> Iterator[str]:
        """Lines for people."""
        for row in self.rows:
            yield f"{row.agreement}: {request_text(row.request)}{_details(row.request)}: {row.why}"
            yield f"  there: {row.there}"
            yield f"  here:  {'; '.join(row.here)}"
            yield f"  because: {row.reason or 'nothing that is reported explains it'}"
        if self.rows:
            yield ""
        yield f"{self.asked} requests, {self.same} answered alike; differences: {len(self.rows)}"
        for ingress, (same, other) in self.by_ingress.items():
            if other:
                yield f"  {ingress}: {same} alike, {other} not"
        for why, count in self.unsent.items():
            yield f"not sent: {count} ({why})"

    def markdown(self) -> Iterator[str]:
        """Lines of a page."""
        yield "# Requests to ingress-nginx and here"
        yield ""
        yield f"{self.asked} requests, {self.same} answered alike."
        if self.rows:
            names = ("verdict", "request", "difference", "there", "here", "because")
            rows = (
                (
                    *(row.agreement, f"{request_text(row.request)}{_details(row.request)}", row.why),
                    *(row.there, "; ".join(row.here), row.reason),
                )
                for row in self.rows
            )
            yield from table("Differences", names, rows)
        counts = ((ref, same, other) for ref, (same, other) in self.by_ingress.items())
        yield from table("Ingresses", ("Ingress", "alike", "not"), counts)
        if self.unsent:
            yield from table("Not sent", ("why", "requests"), self.unsent.items())

    def json(self) -> str:
        """A document."""
        tree = {
            "asked": self.asked,
            "same": self.same,
            "differences": [
                {
                    "agreement": row.agreement,
                    "request": request_text(row.request),
                    "headers": dict(row.request.headers),
                    "client": row.request.client,
                    "ingress": None if row.ingress is None else str(row.ingress),
                    "why": row.why,
                    "there": row.there,
                    "here": list(row.here),
                    "because": row.reason,
                }
                for row in self.rows
            ],
            "ingresses": {
                str(ref): {"same": same, "other": other} for ref, (same, other) in self.by_ingress.items()
            },
            "unsent": dict(self.unsent),
        }
        return json.dumps(tree, indent=2)

    def sarif(self) -> str:
        """A log for code scanning."""
        results = [
            (
                str(row.agreement),
                _LEVELS[row.agreement],
                f"{row.agreement}: {request_text(row.request)}{_details(row.request)}: {row.why}",
                "no Ingress" if row.ingress is None else str(row.ingress),
            )
            for row in self.rows
        ]
        return sarif(results)


def report_of(found: Proof | LiveProof) -> ProofReport:
    """The report on *found*."""
    if isinstance(found, Proof):
        rows = tuple(
            _Row(
                agreement=item.agreement,
                request=item.request,
                ingress=item.there.ingress,
                why=item.why,
                there=str(item.there),
                here=tuple(map(str, item.here)),
                reason=item.reason,
            )
            for item in found.differences
        )
        return ProofReport(asked=found.asked, same=found.same, rows=rows, by_ingress=found.by_ingress)
    rows = tuple(
        _Row(
            agreement=item.agreement,
            request=item.expected.request,
            ingress=item.expected.there.ingress,
            why=item.why,
            there=str(item.old),
            here=(str(item.new),),
            reason=item.reason,
        )
        for item in found.differences
    )
    return ProofReport(
        asked=found.asked, same=found.same, rows=rows, by_ingress=found.by_ingress, unsent=found.unsent
    )


def request_text(request: Request) -> str:
    """``"GET https://shop.test/cart?x=1"``."""
    return one_line(f"{request.method} {request.scheme}://{request.host}{request.path}{request.query}")


def sarif(results: list[tuple[str, str, str, str]]) -> str:
    """A SARIF log.

    Args:
        results: Each a rule, a level, a message and the place, as text.

    Source: SARIF 2.1.0 (OASIS), sections 3.13 to 3.27.
    """
    tree = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ingresskit",
                        "version": __version__,
                        "rules": [{"id": name} for name in dict.fromkeys(rule for rule, *_ in results)],
                    }
                },
                "results": [
                    {
                        "ruleId": rule,
                        "level": level,
                        "message": {"text": message},
                        "locations": [{"logicalLocations": [{"fullyQualifiedName": place, "kind": "object"}]}],
                    }
                    for rule, level, message, place in results
                ],
            }
        ],
    }
    return json.dumps(tree, indent=2)


def _details(request: Request) -> str:
    more = [f"{name}: {value}" for name, value in request.headers.items()]
    more += [] if request.client is None else [f"from {request.client}"]
    return f" ({'; '.join(more)})" if more else ""
