"""Rules for all hosts that ask a service at the host which a client names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import ANY_HOST
from ingresskit.models import ObjectRef
from ingresskit.policies import ExternalAuth, PolicySet
from ingresskit.translate.claims import Claim

__all__ = ["external_auth_faults"]


def external_auth_faults(
    subject: ObjectRef, policies: PolicySet, claims: Iterable[Claim]
) -> Iterator[Diagnostic]:
    """Report rules that are closed: those without a service, and those where clients would choose it."""
    auth = policies.get(ExternalAuth)
    if auth is None:
        return
    if not auth.url:
        message = "needs external-auth-url too; the routes of this object respond 503"
    elif auth.url.asks_requested_host and any(claim.host == ANY_HOST for claim in claims):
        message = (
            "a client that may ask for any host would choose the service that decides about it;"
            " the rules of this object without a host respond 503"
        )
    else:
        return
    origins = policies.origins(ExternalAuth)
    origin = origins.get("url") or next(iter(origins.values()), None)
    yield Diagnostic(
        subject=subject,
        field=origin.field if origin is not None else "",
        reason=Reason.ANNOTATION_INVALID,
        message=message,
        severity=Severity.ERROR,
    )
