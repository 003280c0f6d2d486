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
    """Report rules that are closed because clients would choose the service that decides about them."""
    auth = policies.get(ExternalAuth)
    if auth is None or not auth.url.asks_requested_host:
        return
    if not any(claim.host == ANY_HOST for claim in claims):
        return
    origin = policies.origin(ExternalAuth, "url")
    yield Diagnostic(
        subject=subject,
        field=origin.field if origin is not None else "",
        reason=Reason.ANNOTATION_INVALID,
        message=(
            "a client that may ask for any host would choose the service that decides about it;"
            " the rules of this object without a host respond 503"
        ),
        severity=Severity.ERROR,
    )
