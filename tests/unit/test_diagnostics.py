"""Diagnostics that agree in what is read first are still in one order."""

from __future__ import annotations

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded, sorted_diagnostics
from ingresskit.models import ObjectKey, ObjectRef

_SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))


def _note(number: int, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(
        subject=_SUBJECT,
        field="spec.rules[0].host",
        reason=Reason.HOST_CONFLICT,
        message="is taken",
        severity=severity,
        related=(ObjectRef("Ingress", ObjectKey("shop", f"other-{number:02}")),),
    )


def test_diagnostics_that_differ_in_severity_and_related_objects_only_have_one_order() -> None:
    ordered = [
        _note(number, severity) for severity in (Severity.ERROR, Severity.WARNING) for number in range(30)
    ]

    assert sorted_diagnostics(ordered[::-1]) == tuple(ordered)
    assert bounded(ordered[::-1]) == tuple(ordered)
