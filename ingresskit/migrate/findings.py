"""What becomes of a value, and of a fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingresskit.graph import Request
from ingresskit.models import Ingress, ObjectRef
from ingresskit.policies import Risk

__all__ = ["Analysis", "Finding", "Outcome", "Proposal"]


class Outcome(StrEnum):
    """What becomes of a value. Values are stable."""

    SAME = "same"
    """It does here what it does there."""
    DIFFERENT = "different"
    """Some requests are answered differently."""
    LOST = "lost"
    """It has no effect here, or its routes respond 503."""
    UNNEEDED = "unneeded"
    """It has no effect here, and nothing is lost."""
    UNKNOWN = "unknown"
    """It names an object that was not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What becomes of one value.

    Attributes:
        subject: The object that has it; for a flag the controller's own workload.
        field: Where: ``"metadata.annotations[nginx.ingress.kubernetes.io/app-root]"``, ``"data[hsts]"``,
            ``"--publish-service"``, ``"spec.rules[0].http.paths[1]"``.
        name: The annotation, key or flag; empty for other fields.
        value: As written, at most 200 characters.
        outcome: What becomes of it.
        message: Why, or how it differs; empty where nothing does.
        risk: What ingress-nginx says of an annotation.
        example: A request that the value concerns; ``None`` without one.
    """

    subject: ObjectRef
    field: str
    name: str = ""
    value: str = ""
    outcome: Outcome
    message: str = ""
    risk: Risk = Risk.LOW
    example: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A flag to run with here.

    Attributes:
        flag: With its value, as on a command line.
        why: What asks for it, a clause.
    """

    flag: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What becomes of a fleet.

    Attributes:
        ingresses: How many there are.
        ours: How many of them ingress-nginx serves.
        findings: By object, then as written.
        proposals: The flags to run with here.
        closed: The Ingresses of which routes would respond 503, and the first reason.
    """

    ingresses: int = 0
    ours: int = 0
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    closed: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])

    def counts(self) -> Mapping[Outcome, int]:
        """How many findings have each outcome, in the order of `Outcome`."""
        found = Counter(item.outcome for item in self.findings)
        return {outcome: found[outcome] for outcome in Outcome}

    def by_annotation(self) -> Mapping[str, Mapping[Outcome, int]]:
        """For each annotation in use, how often it has each outcome; the most used first."""
        uses = [item for item in self.findings if item.field.startswith("metadata.annotations[")]
        counted: dict[str, Counter[Outcome]] = {}
        for item in uses:
            counted.setdefault(item.name, Counter())[item.outcome] += 1
        ordered = sorted(counted.items(), key=lambda entry: (-entry[1].total(), entry[0]))
        return {
            name: {outcome: found[outcome] for outcome in Outcome if found[outcome]} for name, found in ordered
        }

    def by_namespace(self) -> Mapping[str, Mapping[Outcome, int]]:
        """For each namespace with Ingresses, how many findings have each outcome; sorted."""
        counted: dict[str, Counter[Outcome]] = {}
        for item in self.findings:
            if item.subject.kind == Ingress.kind:
                counted.setdefault(item.subject.key.namespace, Counter())[item.outcome] += 1
        return {
            name: {outcome: found[outcome] for outcome in Outcome if found[outcome]}
            for name, found in sorted(counted.items())
        }

    @property
    def clean(self) -> bool:
        """Whether nothing is different, lost or unknown."""
        return all(item.outcome in (Outcome.SAME, Outcome.UNNEEDED) for item in self.findings)
