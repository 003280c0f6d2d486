"""Resolves conflicts on one host: the namespace that holds it is served, of its paths the oldest claim.

One virtual host is decided at a time, from everything that decides it (`HostInputs`), so that a
host is decided anew only when one of those things is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import (
    ANY_HOST,
    BackendKey,
    Forward,
    PathMatch,
    Respond,
    Route,
    Unserved,
    VirtualHost,
    solves_http01,
)
from ingresskit.models import ObjectRef
from ingresskit.policies import AppRoot, FallbackService, Mirror, NamedService, Origin, PolicySet, Variant
from ingresskit.translate.claims import Claim, Claimant
from ingresskit.translate.host_inputs import HostInputs
from ingresskit.translate.host_policies import decide_host_policies
from ingresskit.translate.host_redirects import slash_routes, twin_ignored, twin_route, with_root
from ingresskit.translate.passthrough import asked_for, decide_stream
from ingresskit.translate.pattern_hosts import NO_PATTERNS, PatternHost, pattern_host
from ingresskit.translate.resolved import ResolvedClaims
from ingresskit.translate.rewrites import whole_elements
from ingresskit.translate.routes import forward, route_of

__all__ = ["DecidedHost", "decide_host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedHost:
    """A virtual host, and who lost what there.

    Attributes:
        host: ``None`` when none of its claims is served.
        needs: The backends its routes forward to, and the policies that they have.
    """

    host: VirtualHost | None
    needs: Mapping[BackendKey, PolicySet] = field(default_factory=dict[BackendKey, PolicySet])
    diagnostics: tuple[Diagnostic, ...] = ()
    unserved: tuple[Unserved, ...] = ()


def decide_host(inputs: HostInputs) -> DecidedHost:
    """The virtual host that *inputs* amount to."""
    admitted = [item for item in inputs.claims if inputs.held.admits(item.namespace)]
    # A host that rules name is theirs, and no twin of another one.
    ruling = [item for item in admitted if not _only_twin(item, inputs.host)]
    wanting = [item for item in ruling or admitted if not item.claimant.canary]
    scoped = decide_host_policies(inputs.host, wanting)
    asked = asked_for(inputs.host, wanting)
    decision = _Decision(inputs, {**scoped.closed, **asked.closed})
    patterns = pattern_host(admitted)
    for item in inputs.claims:
        decision.diagnostics += patterns.doubts(item, inputs.host)
        if not inputs.held.admits(item.namespace):
            decision.refuse(item)
    # Canaries last: what their main Ingress takes, as a path or by default, is never theirs.
    for group in (
        [item for item in admitted if not item.claimant.canary],
        [item for item in admitted if item.claimant.canary],
    ):
        for item in group:
            for claim in patterns.claims(item, inputs.host):
                if claim.twin_of:
                    decision.admit_twin(item, claim, ruled=bool(ruling))
                elif patterns.refuses(item, claim):
                    decision.keep_pattern_from(claim)
                elif item.claimant.policies.variant is not None:
                    decision.vary(item, claim, item.claimant.policies.variant)
                elif not claim.fallback:
                    decision.admit(item, claim)
        for item in group:
            for claim in patterns.claims(item, inputs.host):
                if claim.fallback and item.claimant.policies.variant is None:
                    decision.admit_fallback(item, claim)
    # With a refused claim only, the host would take the requests of the wildcard above it, and 404 them.
    if not admitted and not (inputs.host == ANY_HOST and inputs.default_backend is not None):
        diagnostics = (*inputs.held.diagnostics, *decision.diagnostics)
        return DecidedHost(host=None, diagnostics=diagnostics, unserved=tuple(decision.unserved))
    decision.fill_up()
    # Of one precedence, the variant of the older object is asked first.
    rooted = with_root(list(decision.all_routes(patterns)), scoped.policies, ruling)
    routes = sorted(rooted, key=lambda route: route.precedence)
    if scoped.closes is not None:
        routes = [route if solves_http01(route) else replace(route, action=scoped.closes) for route in routes]
    passed = decide_stream(inputs.host, asked, wanting, routes, scoped.policies, scoped.closes)
    return DecidedHost(
        host=VirtualHost(
            host=inputs.host,
            routes=tuple(routes),
            tls=inputs.tls,
            owner=inputs.held.owner,
            policies=scoped.policies.without(AppRoot),
            stream=passed.stream,
        ),
        needs={**decision.needs(routes), **passed.needs},
        diagnostics=(
            *inputs.held.diagnostics,
            *decision.diagnostics,
            *scoped.diagnostics,
            *asked.diagnostics,
            *passed.diagnostics,
        ),
        unserved=tuple(decision.unserved),
    )


_NO_POLICIES = PolicySet()


def _only_twin(item: ResolvedClaims, host: str) -> bool:
    """Whether *item* claims *host* as the twin of another one."""
    claims = item.claims.get(host, ())
    return bool(claims) and all(claim.twin_of for claim in claims)


class _Decision:
    def __init__(self, inputs: HostInputs, closed: Mapping[ObjectRef, Respond]) -> None:
        self._inputs = inputs
        self._closed = closed
        self._winners: dict[PathMatch, tuple[ResolvedClaims, Claim]] = {}
        self.routes: dict[PathMatch, Route] = {}
        self.variants: list[Route] = []
        self.diagnostics: list[Diagnostic] = []
        self.unserved: list[Unserved] = []

    def needs(self, routes: Iterable[Route]) -> dict[BackendKey, PolicySet]:
        """The backends of *routes*, each with its policies as the oldest object that asks for them has them."""
        inputs = self._inputs
        items = inputs.claims if inputs.default is None else (*inputs.claims, inputs.default)
        asked: dict[str, PolicySet] = {"": _NO_POLICIES}
        for item in items:
            asked.setdefault(item.backend_identity, item.backend_policies)
        return {
            key: asked[key.policies]
            for route in routes
            if isinstance(route.action, Forward)
            for key in route.action.keys
        }

    def refuse(self, item: ResolvedClaims) -> None:
        host, held, namespace = self._inputs.host, self._inputs.held, item.namespace
        what = "every other host" if host == ANY_HOST else f"host {host}"
        if (why := held.refused.get(namespace)) is not None:
            reason, message = Reason.HOST_NOT_ALLOWED, f"namespace {namespace} may not claim {what}: {why}"
        else:
            through = f" through its wildcard {held.through}" if held.through else ""
            claim = f"oldest claim: {held.claim}" if held.claim else "none of its claims is served now"
            reason = Reason.HOST_CONFLICT
            message = f"{what} is owned by namespace {held.owner}{through} ({claim})"
        winner = held.claim if reason is Reason.HOST_CONFLICT else None
        self._lose(item.names(host), reason, message, host, None, winner)

    def admit(self, item: ResolvedClaims, claim: Claim) -> None:
        if item.claimant.canary and (main := self._main(claim)) is not None:
            self._keep_from(claim, *main)
            return
        holder, winner = self._winners.setdefault(claim.match, (item, claim))
        if winner is claim:
            self.routes[claim.match] = self._route(item, claim)
            return
        own = winner.origin.subject == claim.origin.subject
        who = winner.origin.field if own else _precedence(winner.origin, holder.claimant, item.claimant)
        message = f"{claim.shown} of {_host_text(claim.host)} is held by {who}; this path is not served"
        severity = Severity.WARNING if own and winner.backend == claim.backend else Severity.ERROR
        self._lose(
            claim.origin,
            Reason.ROUTE_CONFLICT,
            message,
            claim.host,
            claim,
            winner.origin.subject,
            severity,
        )

    def admit_twin(self, item: ResolvedClaims, claim: Claim, *, ruled: bool) -> None:
        """Let a host be redirected to its twin, unless rules name it, or an older object redirects it."""
        if ruled:
            self.diagnostics.append(twin_ignored(claim))
        elif claim.match not in self.routes:
            self.routes[claim.match] = twin_route(item, claim)
            self._winners[claim.match] = (item, claim)

    def _route(self, item: ResolvedClaims, claim: Claim) -> Route:
        route = self._with_pages(route_of(item, claim))
        closed = self._closed.get(item.claimant.ref)
        return route if closed is None else replace(route, action=closed)

    def _with_pages(self, route: Route) -> Route:
        """*route*, whose errors get the pages of the controller's default backend if it names none itself.

        Where nothing stands in for its backend and nothing makes pages, the policy is not there either: no
        renderer need do anything for it.
        """
        route = _mirrored(route)
        asked = route.policies.get(FallbackService)
        if asked is None:
            return route
        action, own = route.action, self._inputs.default_backend
        if isinstance(action, Forward):
            if asked.service is None and asked.errors and own is not None and own.key is not None:
                return replace(route, action=replace(action, pages=own.key))
            if action.fallback is not None:
                return route
        origin = route.policies.origin(FallbackService, "errors")
        if origin is not None and asked.service is None:
            fault = Diagnostic(
                subject=origin.subject,
                field=origin.field,
                reason=Reason.ANNOTATION_IGNORED,
                message="no Service makes pages of errors: none is named, and the controller has no default"
                " backend; errors are sent as endpoints make them",
                severity=Severity.WARNING,
            )
            if fault not in self.diagnostics:
                self.diagnostics.append(fault)
        return replace(route, policies=route.policies.without(FallbackService))

    def vary(self, item: ResolvedClaims, claim: Claim, variant: Variant) -> None:
        """Let a claim have its part of the requests of its main path, under the policies of that path.

        Its own policies would let clients choose which protection they meet, by a header field.
        """
        holder, winner = self._winners.get(claim.match, (None, None))
        main = self.routes.get(claim.match)
        where = f"{claim.shown} of {_host_text(claim.host)}"
        if holder is None or winner is None or main is None or holder.claimant.canary:
            message = f"no other Ingress has {where}, of which this canary would take a part; it is not served"
            self._lose(claim.origin, Reason.ROUTE_CONFLICT, message, claim.host, claim, None)
            return
        # Under the policies of the main path, and so with its policies for backends.
        own = route_of(replace(item, backend_identity=holder.backend_identity), claim)
        why = ""
        if holder.namespace != item.namespace:
            why = f"belongs to another namespace ({winner.origin})"
        elif not isinstance(main.action, Forward):
            why = f"is not forwarded ({winner.origin})"
        elif not isinstance(own.action, Forward):
            why = f"stays with {winner.origin} whole"
        if why or not (isinstance(main.action, Forward) and isinstance(own.action, Forward)):
            message = f"{where} {why}: this canary takes no part of its requests"
            subject = winner.origin.subject
            self._lose(claim.origin, Reason.ROUTE_CONFLICT, message, claim.host, claim, subject)
            return
        beside = main.action
        # While it has no endpoint, its part of the requests stays with the main path.
        stands_in = beside.backends[0].key if beside.backends else beside.fallback
        action = replace(own.action, fallback=stands_in, pages=beside.pages, mirror=beside.mirror)
        self.variants += (
            replace(main, action=action, origin=claim.origin, selection=selection, written=claim.written)
            for selection in variant.selections
        )

    def _main(self, claim: Claim) -> tuple[PathMatch, Claim] | None:
        """What of the host, that is no canary's, takes all requests that a canary's path asks for."""
        path = claim.match.value
        wider = [claim.match]
        wider += [PathMatch.prefix(path[:cut]) for cut in range(len(path), 0, -1) if path[cut : cut + 1] == "/"]
        for match in (*wider, PathMatch.prefix("/")):
            holder, winner = self._winners.get(match, (None, None))
            if holder is not None and winner is not None and not holder.claimant.canary:
                return match, winner
        return None

    def _keep_from(self, claim: Claim, match: PathMatch, main: Claim) -> None:
        message = (
            f"{claim.shown} of {_host_text(claim.host)} belongs to {main.origin} ({match}): an Ingress"
            " marked as canary takes no path from its main Ingress; this path is not served"
        )
        winner = main.origin.subject
        self._lose(claim.origin, Reason.ROUTE_CONFLICT, message, claim.host, claim, winner)

    def keep_pattern_from(self, claim: Claim) -> None:
        oldest = self._inputs.claims[0].claimant.ref
        message = (
            f"{claim.shown} of {_host_text(claim.host)} is a regular expression, which could take requests from"
            " other namespaces: on a host that several share, only the namespace of the oldest Ingress"
            f" ({oldest}) may have them; this path is not served"
        )
        self._lose(claim.origin, Reason.ROUTE_CONFLICT, message, claim.host, claim, oldest)

    def admit_fallback(self, item: ResolvedClaims, claim: Claim) -> None:
        _, winner = self._winners.setdefault(claim.match, (item, claim))
        if winner is claim:
            self.routes[claim.match] = self._route(item, claim)
            return
        message = f"on {_host_text(claim.host)} it is never reached: {winner.origin} takes every path"
        severity = Severity.ERROR if item.claimant.catch_all else Severity.WARNING
        self._lose(
            claim.origin,
            Reason.DEFAULT_BACKEND_UNUSED,
            message,
            claim.host,
            claim,
            winner.origin.subject,
            severity,
        )

    def fill_up(self) -> None:
        """What no rule of the host takes goes to the default of all hosts, where there is one."""
        everything = PathMatch.prefix("/")
        if everything in self.routes:
            return
        default = self._inputs.default
        if default is not None and (claim := default.claimant.catch_all) is not None:
            self.routes[everything] = route_of(default, claim)
        elif (own := self._inputs.default_backend) is not None:
            self.routes[everything] = Route(
                match=everything, action=forward([(own, 1)]), origin=Origin(own.service, ""), fallback=True
            )

    def all_routes(self, patterns: PatternHost) -> Iterator[Route]:
        """Every route of the host, in any order, as *patterns* have it."""
        for route in (*self.routes.values(), *self.variants):
            if patterns is NO_PATTERNS:
                yield route
                continue
            wide = whole_elements(route, self.routes.keys())
            yield wide.route
            self.diagnostics += wide.diagnostics
        if patterns is NO_PATTERNS:
            yield from slash_routes(self._winners.values(), self.routes)

    def _lose(
        self,
        origin: Origin,
        reason: Reason,
        message: str,
        host: str,
        claim: Claim | None,
        winner: ObjectRef | None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.diagnostics.append(
            Diagnostic(
                subject=origin.subject,
                field=origin.field,
                reason=reason,
                message=message,
                severity=severity,
                related=() if winner is None or winner == origin.subject else (winner,),
            )
        )
        self.unserved.append(
            Unserved(
                origin=origin,
                host=host,
                path=claim.shown if claim else "",
                match=claim.match if claim else None,
                reason=reason,
                message=message,
                winner=winner,
            )
        )


def _precedence(origin: Origin, winner: Claimant, loser: Claimant) -> str:
    """Who holds something, and the rule that decided it; see `age_order`."""
    won, lost = winner.created, loser.created
    if won is None:
        return f"{origin} (neither has a creation time, so namespace and name decide)"
    if won == lost:
        return f"{origin} (both were created in the same second, so namespace and name decide)"
    return f"the older {origin} (the creation time decides)"


def _host_text(host: str) -> str:
    return "any host" if host == "*" else host


def _mirrored(route: Route) -> Route:
    """*route* without the policy for copies where the Service that it names does not exist."""
    asked = route.policies.get(Mirror)
    if asked is None or not isinstance(asked.target, NamedService):
        return route
    if isinstance(route.action, Forward) and route.action.mirror is not None:
        return route
    return replace(route, policies=route.policies.without(Mirror))
