"""From a claim that was admitted to a route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import Action, Forward, Redirect, Respond, Route, WeightedBackend, solves_http01
from ingresskit.policies import NATIVE_ORDER, FallbackService, PermanentRedirect, TrafficSplit
from ingresskit.translate.backends import Resolution
from ingresskit.translate.claims import BackendFault, Claim
from ingresskit.translate.resolved import ResolvedClaims, fallback_ref, mirror_ref, shares
from ingresskit.translate.rewrites import rewrites_for

__all__ = ["forward", "route_of"]


def route_of(resolved: ResolvedClaims, claim: Claim) -> Route:
    """The route that serves *claim* of *resolved*."""
    return Route(
        match=claim.match,
        action=_action(resolved, claim),
        origin=claim.origin,
        policies=rewrites_for(claim, resolved.policies),
        fallback=claim.fallback,
        written=claim.written,
        order=resolved.claimant.policies.order or NATIVE_ORDER,
    )


def _needs_none(claim: Claim, fault: Diagnostic) -> bool:
    """Whether a path does without the protection: one of ACME's HTTP-01, for a protection that is not built.

    cert-manager may add such a path to the Ingress that it makes a certificate for.
    """
    if fault.reason not in (Reason.ANNOTATION_FOREIGN, Reason.ANNOTATION_UNSUPPORTED):
        return False
    return solves_http01(Route(match=claim.match, action=Respond(status=503), origin=claim.origin))


def _action(resolved: ResolvedClaims, claim: Claim) -> Action:
    """The protection comes first: where it cannot be built, nothing else about the route matters."""
    parsed = resolved.claimant.policies
    if parsed.protection_fault is not None and not _needs_none(claim, parsed.protection_fault):
        message = f"{parsed.protection_fault.field} is not honoured and would protect it"
        return Respond(status=503, reason=parsed.protection_fault.reason, message=message)
    redirect = parsed.policies.get(PermanentRedirect)
    if redirect is not None and redirect.location is not None:
        return Redirect(location=redirect.location, status=int(redirect.status), keeps=redirect.keeps)
    if isinstance(claim.backend, BackendFault):
        return Respond(status=503, reason=claim.backend.reason, message=claim.backend.message)
    divided = shares(claim.backend, parsed.policies.get(TrafficSplit)) or [(claim.backend, 1)]
    divided_by_backend = [(resolved.resolutions[ref], weight) for ref, weight in divided]
    action = forward(divided_by_backend, resolved.backend_identity)
    return _beside(action, resolved)


def _beside(action: Action, resolved: ResolvedClaims) -> Action:
    """*action* with the Services beside its backends; one stands in also where those do not exist."""
    found = (fallback_ref(resolved.claimant), mirror_ref(resolved.claimant))
    if found == (None, None) or isinstance(action, Redirect):
        return action
    fallback, mirror = (None if ref is None else resolved.resolutions[ref].key for ref in found)
    if isinstance(action, Respond):
        if fallback is None:
            return action
        return Forward(backends=(WeightedBackend(fallback),), mirror=mirror)
    asked = resolved.policies.get(FallbackService)
    pages = fallback if asked is not None and asked.errors else None
    return replace(action, fallback=fallback, pages=pages, mirror=mirror)


def forward(shares: Sequence[tuple[Resolution, int]], policies: str = "") -> Action:
    """Forward to these backends by weight; those without a weight get no requests.

    Args:
        shares: The backends.
        policies: The identity of the policies that they have, as `BackendKey.policies`.
    """
    weights = {
        resolution.key._replace(policies=policies): weight
        for resolution, weight in shares
        if resolution.key and weight
    }
    if weights:
        return Forward(backends=tuple(WeightedBackend(key, weights[key]) for key in sorted(weights)))
    fault = next((resolution.fault for resolution, _ in shares if resolution.fault), None)
    return Respond(
        status=503,
        reason=fault.reason if fault else None,
        message=fault.message if fault else "no backend has a share",
    )
