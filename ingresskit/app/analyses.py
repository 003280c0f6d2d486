"""What `migrate analyse` found, as text, JSON, Markdown and SARIF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ingresskit.app.proofs import request_text, sarif
from ingresskit.app.tables import one_line, table
from ingresskit.migrate import Analysis, Finding, Outcome

__all__ = ["analysis_json", "analysis_markdown", "analysis_sarif", "analysis_text"]

_NOTHING_LOST: Final = frozenset({Outcome.SAME, Outcome.UNNEEDED})
_LEVELS: Final = {
    Outcome.LOST: "error",
    Outcome.DIFFERENT: "warning",
    Outcome.UNKNOWN: "warning",
    Outcome.UNNEEDED: "note",
    Outcome.SAME: "none",
}


def _shown(items: Iterable[Finding], *, every: bool) -> list[Finding]:
    return [item for item in items if every or item.outcome not in _NOTHING_LOST]


def analysis_text(found: Analysis, *, every: bool) -> Iterator[str]:
    """Lines for people; with *every*, values too for which nothing changes."""
    for item in _shown(found.findings, every=every):
        value = f" = {one_line(item.value)!r}" if item.value else ""
        why = f": {item.message}" if item.message else ""
        yield f"{item.outcome}: {item.subject}, {item.field}{value}{why}"
        if item.example is not None:
            yield f"  for example {request_text(item.example)}"
    yield ""
    for closed, why in found.closed.items():
        yield f"closed: {closed} responds 503: {why}"
    if found.closed:
        yield ""
    yield from _summary(found)


def _summary(found: Analysis) -> Iterator[str]:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.counts().items())
    yield f"{found.ingresses} Ingresses, {found.ours} of ingress-nginx; values: {counts}"
    yield ""
    yield "annotations in use:"
    for name, outcomes in found.by_annotation().items():
        yield f"  {name}: {_counted(outcomes)}"
    yield ""
    yield "run with:"
    for proposal in found.proposals:
        yield f"  {proposal.flag}  # {proposal.why}"


def _counted(outcomes: Mapping[Outcome, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def analysis_markdown(found: Analysis, *, every: bool) -> Iterator[str]:
    """Lines of a page; with *every*, values too for which nothing changes."""
    yield "# Leaving ingress-nginx"
    yield ""
    yield f"{found.ingresses} Ingresses, {found.ours} of ingress-nginx."
    yield from table("", ("outcome", "values"), found.counts().items())
    values = (
        (
            *(item.outcome, item.subject, item.field, item.value, item.message),
            "" if item.example is None else request_text(item.example),
        )
        for item in _shown(found.findings, every=every)
    )
    yield from table("Values", ("outcome", "object", "field", "value", "why", "example"), values)
    for title, counts in (("annotation", found.by_annotation()), ("namespace", found.by_namespace())):
        rows = ((name, _counted(outcomes)) for name, outcomes in counts.items())
        yield from table(f"{title.capitalize()}s", (title, "outcomes"), rows)
    yield ""
    yield "## Run with"
    yield ""
    for proposal in found.proposals:
        yield f"- `{proposal.flag}`: {proposal.why}"


def analysis_json(found: Analysis) -> dict[str, object]:
    """A document."""
    return {
        "ingresses": found.ingresses,
        "ours": found.ours,
        "counts": dict(found.counts()),
        "annotations": {name: dict(counts) for name, counts in found.by_annotation().items()},
        "namespaces": {name: dict(counts) for name, counts in found.by_namespace().items()},
        "findings": [
            {
                "outcome": item.outcome,
                "kind": item.subject.kind,
                "namespace": item.subject.key.namespace,
                "name": item.subject.key.name,
                "field": item.field,
                "value": item.value,
                "risk": item.risk,
                "message": item.message,
                "example": None if item.example is None else request_text(item.example),
            }
            for item in found.findings
        ],
        "closed": [{"ingress": str(ref), "why": why} for ref, why in found.closed.items()],
        "flags": [{"flag": item.flag, "why": item.why} for item in found.proposals],
    }


def analysis_sarif(found: Analysis) -> str:
    """A log for code scanning."""
    return sarif(
        [
            (
                item.name or "field",
                _LEVELS[item.outcome],
                f"{item.outcome}: {item.message or item.field}",
                f"{item.subject}, {item.field}",
            )
            for item in _shown(found.findings, every=False)
        ]
    )
