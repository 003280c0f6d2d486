"""Redirects of a whole host: of its root, and of a twin to the host that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Forward, PathKind, PathMatch, Redirect, Route
from ingresskit.policies import (
    NATIVE_ORDER,
    AppRoot,
    BodyLimit,
    KeptTarget,
    PatternRefused,
    Policy,
    PolicySet,
    Stage,
    TlsRedirect,
    WwwRedirect,
)
from ingresskit.translate.claims import Claim
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["twin_ignored", "twin_route", "with_root"]

_ROOT = "/"
# What comes before everything: it must not be told to whom nothing may be told. So does the bound on bodies,
# where the order of the object has that first.
_FIRST = frozenset({Stage.AGENT, Stage.PLAIN_HTTP})


def twin_route(item: ResolvedClaims, claim: Claim) -> Route:
    """The route of a twin: everything is redirected to the host that *claim* names."""
    policy = item.claimant.policies.policies.get(WwwRedirect) or WwwRedirect()
    # The redirect keeps the scheme: the host it leads to has its own redirect to TLS.
    own = PolicySet((TlsRedirect(enabled=False),))
    return Route(
        match=claim.match,
        action=Redirect(location=f"//{claim.twin_of}", status=int(policy.status), keeps=KeptTarget.PATH),
        origin=claim.origin,
        policies=_before(item, first=policy.first).merged(own),
        order=item.claimant.policies.order or NATIVE_ORDER,
    )


def twin_ignored(claim: Claim) -> Diagnostic:
    """Why a twin is not redirected: rules name it."""
    message = f"rules name the host {claim.host}; it is not redirected to {claim.twin_of}"
    return Diagnostic(
        subject=claim.origin.subject,
        field=claim.origin.field,
        reason=Reason.ANNOTATION_IGNORED,
        message=message,
        severity=Severity.WARNING,
    )


def with_root(routes: Sequence[Route], policies: PolicySet, items: Sequence[ResolvedClaims]) -> Sequence[Route]:
    """*routes* of a host, with a redirect of its root where *policies* of the host ask for one.

    Args:
        routes: Those of the host, in any order.
        policies: Those of the host.
        items: Who is served on it.
    """
    policy, origin = policies.get(AppRoot), policies.origin(AppRoot, "location")
    if policy is None or policy.location is None or origin is None:
        return routes
    item = next((item for item in items if item.claimant.ref == origin.subject), None)
    if item is None or item.claimant.policies.protection_fault is not None:
        return routes
    match = _root_match([route.match for route in routes])
    made = Route(
        match=match,
        action=Redirect(location=f"//{policy.location}" if policy.absolute else policy.location, status=302),
        origin=origin,
        policies=_of_taker(routes, _before(item, first=policy.first)),
        order=item.claimant.policies.order or NATIVE_ORDER,
    )
    return [*(route for route in routes if route.match != match), made]


def slash_routes(
    winners: Iterable[tuple[ResolvedClaims, Claim]], routes: Mapping[PathMatch, Route]
) -> Iterator[Route]:
    """Redirects to paths that end with ``/``, of objects whose dialect asks for them, from the same without it.

    Args:
        winners: Whose paths are served.
        routes: Those of the host.

    Source: nginx, "location": a location that ends with a slash and is proxied.
    """
    for item, claim in winners:
        route = routes.get(claim.match)
        if not item.claimant.policies.slash_redirects or route is None or claim.fallback:
            continue
        path = claim.match.value if claim.match.kind is not PathKind.REGEX else ""
        if path == _ROOT or not claim.pattern.endswith("/") or not isinstance(route.action, Forward):
            continue
        match = PathMatch.exact(path.rstrip("/"))
        if match not in routes:
            policies = _before(item, first=True)
            yield Route(
                match=match,
                action=Redirect(location=f"//{match.value}/", status=301, keeps=KeptTarget.QUERY),
                origin=claim.origin,
                policies=policies,
                order=item.claimant.policies.order or NATIVE_ORDER,
            )


def _of_taker(routes: Sequence[Route], policies: PolicySet) -> PolicySet:
    """*policies*, where the bound on bodies is that of the route that takes the root otherwise."""
    if policies.get(BodyLimit) is None:
        return policies
    taking = (
        route for route in sorted(routes, key=lambda route: route.precedence) if route.match.matches(_ROOT)
    )
    taker = next(taking, None)
    limit = None if taker is None else taker.policies.get(BodyLimit)
    return policies if limit is None else policies.merged(PolicySet((limit,)))


def _root_match(others: Sequence[PathMatch]) -> PathMatch:
    """What takes the root before all of *others*."""
    wide = [match for match in others if match.host_wide and match.matches(_ROOT)]
    if not wide:
        return PathMatch.exact(_ROOT)
    # Of host-wide patterns the longest wins: an end that stands there often makes it longer, and no other.
    shortest = PathMatch.regex("/$", host_wide=True)
    missing = max(len(match.value) for match in wide) + 1 - len(shortest.value)
    try:
        return PathMatch.regex("/$" + "$" * max(missing, 0), host_wide=True)
    except PatternRefused:
        return shortest


def _before(item: ResolvedClaims, *, first: bool) -> PolicySet:
    """The policies of an object that act before its redirects."""
    place = (item.claimant.policies.order or NATIVE_ORDER).place

    def acts(policy: Policy) -> bool:
        if first and policy.stage is not Stage.BODY:
            return policy.stage in _FIRST
        return place(policy.stage) < place(Stage.ACTION)

    return item.policies.without(*(type(policy) for policy in item.policies if not acts(policy)))
