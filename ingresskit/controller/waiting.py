"""Diagnostics for authors whose change waits for the proxy to be reloaded."""

from __future__ import annotations

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.errors import ApplyPostponed
from ingresskit.models import ObjectKey, ObjectRef

__all__ = ["waiting_diagnostics"]

_MOST = 1000
# The error says for how long, which differs from one try to the next.
_MESSAGE = "it asks for a change that needs a reload of the proxy, which has to wait; what was served still is"


def waiting_diagnostics(error: ApplyPostponed) -> tuple[Diagnostic, ...]:
    """A diagnostic for each object whose change waits; sorted, 1,000 at most; empty for no object's doing."""
    return tuple(
        Diagnostic(
            subject=ObjectRef(kind, ObjectKey(*key)),
            field="",
            reason=Reason.CHANGE_WAITS,
            message=_MESSAGE,
            severity=Severity.WARNING,
        )
        for kind, key in sorted(error.subjects)[:_MOST]
    )
