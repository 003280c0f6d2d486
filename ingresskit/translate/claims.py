"""Resolves conflicts on one host: the namespace that holds it is served, of its paths the oldest claim.

One virtual host is decided at a time, from everything that decides it (`HostInputs`), so that a
host is decided anew only when one of those things is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import (
    ANY_HOST,
    Action,
    BackendKey,
    Forward,
    PathMatch,
    Redirect,
    Respond,
    Route,
    Unserved,
    VirtualHost,
    WeightedBackend,
    solves_http01,
)
from ingresskit.models import Ingress, ObjectKey, ObjectRef
from ingresskit.policies import Origin, PermanentRedirect, PolicySet, TrafficSplit
from ingresskit.translate.backends import Resolution
from ingresskit.translate.rules import BackendFault, Claim, Fragment, ServiceRef

__all__ = ["Contribution", "DecidedHost", "Held", "HostInputs", "backend_refs", "decide_host"]

_CONSUMED = (PermanentRedirect, TrafficSplit)
"""Policies that are fully said by a route's action; no renderer needs to know them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contribution:
    """A fragment, and whether the backends it names exist. Compared by identity.

    Attributes:
        resolutions: For every reference of `backend_refs`.
        claims: Those of the fragment by host: an Ingress may name ten thousand hosts, and each is
            decided by itself.
        services: Those that the references name.
        policies: What is left for renderers to honour.
        diagnostics: One for every backend that does not exist.
    """

    fragment: Fragment
    resolutions: Mapping[ServiceRef, Resolution]
    services: frozenset[ObjectKey]
    claims: Mapping[str, Sequence[Claim]]
    policies: PolicySet
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def namespace(self) -> str:
        """The namespace of its Ingress."""
        return self.fragment.ingress.metadata.namespace

    def names(self, host: str) -> Origin:
        """The field that names *host*, which is one that it claims."""
        fragment = self.fragment
        catch_all = fragment.catch_all
        return fragment.hosts.get(host) or (catch_all.origin if catch_all else Origin(fragment.ingress.ref, ""))

    @classmethod
    def of(cls, fragment: Fragment, resolutions: Mapping[ServiceRef, Resolution]) -> Contribution:
        """The contribution of *fragment*, with what its missing backends cost."""
        faults = tuple(_backend_faults(fragment, resolutions))
        claims: dict[str, list[Claim]] = {}
        for claim in fragment.claims:
            claims.setdefault(claim.host, []).append(claim)
        return cls(
            fragment=fragment,
            resolutions=resolutions,
            services=frozenset(ref.service for ref in resolutions),
            claims=claims,
            policies=fragment.policies.policies.without(*_CONSUMED),
            diagnostics=faults,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Who may be served on a host.

    Attributes:
        owner: The namespace that holds the host; ``None`` when hosts are shared, or none may claim it.
        claim: The oldest Ingress of *owner* that claims the host, or the wildcard *through*; ``None``
            when the host stays held without a claim.
        through: The wildcard that the owner holds the host through; empty when it claims the host itself.
        refused: The namespaces that claim the host and may not, each with the reason as a clause.
        diagnostics: What its claimants are told beside that: another namespace holds the wildcard above.
    """

    owner: str | None = None
    claim: ObjectRef | None = None
    through: str = ""
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    diagnostics: tuple[Diagnostic, ...] = ()

    def admits(self, namespace: str) -> bool:
        """Whether rules of *namespace* for the host are served."""
        return self.owner in (None, namespace) and namespace not in self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInputs:
    """Everything that decides a virtual host.

    Attributes:
        contributions: Those that name the host, oldest first; at least one, unless there is a default.
        held: Who may be served on it.
        default: Who takes what nothing here takes: the claim of an Ingress without rules.
        default_backend: The controller's own default backend, behind that.
        tls: Whether the host has TLS settings of its own.
    """

    host: str
    contributions: tuple[Contribution, ...]
    held: Held
    default: Contribution | None
    default_backend: Resolution | None
    tls: bool

    def are(
        self,
        contributions: Sequence[Contribution],
        held: Held,
        default: Contribution | None,
        default_backend: Resolution | None,
        tls: bool,
    ) -> bool:
        """Whether inputs made of these would equal these: asked of every host in every pass."""
        before = self.contributions
        return (
            self.default is default
            and self.tls is tls
            and self.held is held
            and len(before) == len(contributions)
            and all(map(is_, before, contributions))
            and self.default_backend == default_backend
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedHost:
    """A virtual host, and who lost what there.

    Attributes:
        host: ``None`` when none of its claims is served.
        needs: The backends its routes forward to.
    """

    host: VirtualHost | None
    needs: frozenset[BackendKey] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()
    unserved: tuple[Unserved, ...] = ()


def backend_refs(fragment: Fragment) -> Iterable[ServiceRef]:
    """Every backend whose existence decides a route of *fragment*, each once, in order."""
    refs: dict[ServiceRef, None] = {}
    split = fragment.policies.policies.get(TrafficSplit)
    for claim in fragment.claims:
        if isinstance(claim.backend, ServiceRef):
            refs[claim.backend] = None
            for share in _shares(claim.backend, split):
                refs[share[0]] = None
    return refs


def decide_host(inputs: HostInputs) -> DecidedHost:
    """The virtual host that *inputs* amount to."""
    decision = _Decision(inputs)
    admitted: list[Contribution] = []
    for contribution in inputs.contributions:
        if not inputs.held.admits(contribution.namespace):
            decision.refuse(contribution)
        else:
            admitted.append(contribution)
    # Canaries last: what their main Ingress takes, as a path or by default, is never theirs.
    for group in (
        [item for item in admitted if not item.fragment.canary],
        [item for item in admitted if item.fragment.canary],
    ):
        for contribution in group:
            for claim in contribution.claims.get(inputs.host, ()):
                if not claim.fallback:
                    decision.admit(contribution, claim)
        for contribution in group:
            for claim in contribution.claims.get(inputs.host, ()):
                if claim.fallback:
                    decision.admit_fallback(contribution, claim)
    diagnostics = (*inputs.held.diagnostics, *decision.diagnostics)
    # With a refused claim only, the host would take the requests of the wildcard above it, and 404 them.
    if not admitted and not (inputs.host == ANY_HOST and inputs.default_backend is not None):
        return DecidedHost(host=None, diagnostics=diagnostics, unserved=tuple(decision.unserved))
    decision.fill_up()
    return DecidedHost(
        host=VirtualHost(
            host=inputs.host,
            routes=tuple(sorted(decision.routes.values(), key=lambda route: route.match.precedence)),
            tls=inputs.tls,
            owner=inputs.held.owner,
        ),
        needs=frozenset(
            share.key
            for route in decision.routes.values()
            if isinstance(route.action, Forward)
            for share in route.action.backends
        ),
        diagnostics=diagnostics,
        unserved=tuple(decision.unserved),
    )


class _Decision:
    def __init__(self, inputs: HostInputs) -> None:
        self._inputs = inputs
        self._winners: dict[PathMatch, tuple[Contribution, Claim]] = {}
        self.routes: dict[PathMatch, Route] = {}
        self.diagnostics: list[Diagnostic] = []
        self.unserved: list[Unserved] = []

    def refuse(self, contribution: Contribution) -> None:
        host, held, namespace = self._inputs.host, self._inputs.held, contribution.namespace
        what = "every other host" if host == ANY_HOST else f"host {host}"
        if (why := held.refused.get(namespace)) is not None:
            reason, message = Reason.HOST_NOT_ALLOWED, f"namespace {namespace} may not claim {what}: {why}"
        else:
            through = f" through its wildcard {held.through}" if held.through else ""
            claim = f"oldest claim: {held.claim}" if held.claim else "none of its claims is served now"
            reason = Reason.HOST_CONFLICT
            message = f"{what} is owned by namespace {held.owner}{through} ({claim})"
        winner = held.claim if reason is Reason.HOST_CONFLICT else None
        self._lose(contribution.names(host), reason, message, host, None, winner)

    def admit(self, contribution: Contribution, claim: Claim) -> None:
        if contribution.fragment.canary and (main := self._main(claim)) is not None:
            self._keep_from(claim, *main)
            return
        holder, winner = self._winners.setdefault(claim.match, (contribution, claim))
        if winner is claim:
            self.routes[claim.match] = _route(contribution, claim)
            return
        own = winner.origin.subject == claim.origin.subject
        if own:
            who = winner.origin.field
        else:
            who = _precedence(winner.origin, holder.fragment.ingress, contribution.fragment.ingress)
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

    def _main(self, claim: Claim) -> tuple[PathMatch, Claim] | None:
        """What of the host, that is no canary's, takes all requests that a canary's path asks for."""
        path = claim.match.value
        wider = [claim.match]
        wider += [PathMatch.prefix(path[:cut]) for cut in range(len(path), 0, -1) if path[cut : cut + 1] == "/"]
        for match in (*wider, PathMatch.prefix("/")):
            holder, winner = self._winners.get(match, (None, None))
            if holder is not None and winner is not None and not holder.fragment.canary:
                return match, winner
        return None

    def _keep_from(self, claim: Claim, match: PathMatch, main: Claim) -> None:
        message = (
            f"{claim.shown} of {_host_text(claim.host)} belongs to {main.origin} ({match}): an Ingress"
            " marked as canary takes no path from its main Ingress; this path is not served"
        )
        winner = main.origin.subject
        self._lose(claim.origin, Reason.ROUTE_CONFLICT, message, claim.host, claim, winner)

    def admit_fallback(self, contribution: Contribution, claim: Claim) -> None:
        _, winner = self._winners.setdefault(claim.match, (contribution, claim))
        if winner is claim:
            self.routes[claim.match] = _route(contribution, claim)
            return
        message = f"on {_host_text(claim.host)} it is never reached: {winner.origin} takes every path"
        severity = Severity.WARNING if contribution.fragment.ingress.spec.rules else Severity.ERROR
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
        if default is not None and (claim := default.fragment.catch_all) is not None:
            self.routes[everything] = _route(default, claim)
        elif (own := self._inputs.default_backend) is not None:
            self.routes[everything] = Route(
                match=everything, action=_forward([(own, 1)]), origin=Origin(own.service, ""), fallback=True
            )

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


def _precedence(origin: Origin, winner: Ingress, loser: Ingress) -> str:
    """Who holds something, and the rule that decided it; see `age_order`."""
    won, lost = winner.metadata.creation_timestamp, loser.metadata.creation_timestamp
    if won is None:
        return f"{origin} (neither has a creation time, so namespace and name decide)"
    if won == lost:
        return f"{origin} (both were created in the same second, so namespace and name decide)"
    return f"the older {origin} (the creation time decides)"


def _backend_faults(fragment: Fragment, resolutions: Mapping[ServiceRef, Resolution]) -> Iterable[Diagnostic]:
    split = fragment.policies.policies.get(TrafficSplit)
    told: set[tuple[str, ServiceRef]] = set()
    for claim in fragment.claims:
        if not isinstance(claim.backend, ServiceRef):
            continue
        for ref, weight in [(claim.backend, 1), *_shares(claim.backend, split)]:
            resolution = resolutions[ref]
            if resolution.fault is None or (claim.origin.field, ref) in told:
                continue
            told.add((claim.origin.field, ref))
            field = claim.origin.field if claim.fallback else f"{claim.origin.field}.backend"
            effect = "the route responds 503"
            if split is not None and (ref != claim.backend or weight == 0):
                effect = "its share goes to the others"
            yield Diagnostic(
                subject=claim.origin.subject,
                field=field,
                reason=resolution.fault.reason,
                message=f"{resolution.fault.message}; {effect}",
                related=(resolution.service,),
            )


def _route(contribution: Contribution, claim: Claim) -> Route:
    return Route(
        match=claim.match,
        action=_action(contribution, claim),
        origin=claim.origin,
        policies=contribution.policies,
        fallback=claim.fallback,
        written=claim.written,
    )


def _needs_none(claim: Claim, fault: Diagnostic) -> bool:
    """Whether a path does without the protection: one of ACME's HTTP-01, for another controller's annotation.

    cert-manager may add such a path to the Ingress that it makes a certificate for.
    """
    if fault.reason is not Reason.ANNOTATION_FOREIGN:
        return False
    return solves_http01(Route(match=claim.match, action=Respond(status=503), origin=claim.origin))


def _action(contribution: Contribution, claim: Claim) -> Action:
    """The protection comes first: where it cannot be built, nothing else about the route matters."""
    parsed = contribution.fragment.policies
    if parsed.protection_fault is not None and not _needs_none(claim, parsed.protection_fault):
        message = f"{parsed.protection_fault.field} is not honoured and would protect it"
        return Respond(status=503, reason=parsed.protection_fault.reason, message=message)
    redirect = parsed.policies.get(PermanentRedirect)
    if redirect is not None and redirect.location is not None:
        return Redirect(location=redirect.location, status=int(redirect.status))
    if isinstance(claim.backend, BackendFault):
        return Respond(status=503, reason=claim.backend.reason, message=claim.backend.message)
    shares = _shares(claim.backend, parsed.policies.get(TrafficSplit)) or [(claim.backend, 1)]
    return _forward([(contribution.resolutions[ref], weight) for ref, weight in shares])


def _forward(shares: Sequence[tuple[Resolution, int]]) -> Action:
    weights = {resolution.key: weight for resolution, weight in shares if resolution.key and weight}
    if weights:
        return Forward(backends=tuple(WeightedBackend(key, weights[key]) for key in sorted(weights)))
    fault = next((resolution.fault for resolution, _ in shares if resolution.fault), None)
    return Respond(
        status=503,
        reason=fault.reason if fault else None,
        message=fault.message if fault else "no backend has a share",
    )


def _shares(backend: ServiceRef, split: TrafficSplit | None) -> list[tuple[ServiceRef, int]]:
    """How a split divides the requests of *backend*; empty when it does not name that Service."""
    if split is None or all(name != backend.service.name for name, _ in split.shares):
        return []
    return [
        (ServiceRef(service=backend.service._replace(name=name), port=backend.port), weight)
        for name, weight in split.shares
    ]


def _host_text(host: str) -> str:
    return "any host" if host == "*" else host
