"""The claims of one claimant beside the Services that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ingresskit.diagnostics import Diagnostic, Severity
from ingresskit.graph import ANY_HOST
from ingresskit.models import ObjectKey
from ingresskit.policies import (
    FallbackService,
    Mirror,
    NamedService,
    Origin,
    PermanentRedirect,
    Policy,
    PolicyScope,
    PolicySet,
    TlsPassthrough,
    TrafficSplit,
    UpstreamProtocol,
    WwwRedirect,
    identity_of,
)
from ingresskit.translate.backends import Resolution
from ingresskit.translate.claims import Claim, Claimant, ServiceRef

__all__ = ["ResolvedClaims", "backend_refs", "fallback_ref", "mirror_ref", "shares"]

_CONSUMED = (PermanentRedirect, TlsPassthrough, TrafficSplit, UpstreamProtocol, WwwRedirect)
"""Policies that the action of a route and its backends express completely; no renderer needs to know them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResolvedClaims:
    """The claims of a claimant, and whether the backends that they name exist. Compared by identity.

    Attributes:
        resolutions: For every reference of `backend_refs`.
        claims: Those of the claimant by host: one object may name ten thousand hosts, and each is
            decided by itself.
        services: Those that the references name.
        policies: What is left for renderers to honour, of its routes.
        host_policies: What it asks for its hosts.
        backend_policies: What it asks for the backends of its routes.
        backend_identity: What tells backends with these policies from others, as `BackendKey.policies`.
        diagnostics: One for each backend that does not exist.
    """

    claimant: Claimant
    resolutions: Mapping[ServiceRef, Resolution]
    services: frozenset[ObjectKey]
    claims: Mapping[str, Sequence[Claim]]
    policies: PolicySet
    host_policies: PolicySet = PolicySet()
    backend_policies: PolicySet = PolicySet()
    backend_identity: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def namespace(self) -> str:
        """The namespace of its object."""
        return self.claimant.namespace

    def names(self, host: str) -> Origin:
        """The field that names *host*, which is one that it claims."""
        claimant = self.claimant
        catch_all = claimant.catch_all
        return claimant.hosts.get(host) or (catch_all.origin if catch_all else Origin(claimant.ref, ""))

    @property
    def claimed_hosts(self) -> Iterable[str]:
        """Every host that it claims; those that share only a default backend of it are not among them."""
        return (ANY_HOST,) if self.claimant.catch_all else self.claimant.hosts

    @classmethod
    def of(cls, claimant: Claimant, resolutions: Mapping[ServiceRef, Resolution]) -> ResolvedClaims:
        """The claims of *claimant*, with a Diagnostic for each backend that does not exist."""
        policies = claimant.policies.policies.without(*_CONSUMED)
        for_hosts = policies.of_scope(PolicyScope.HOST)
        for_backends = policies.of_scope(PolicyScope.BACKEND)
        faults = tuple(_backend_faults(claimant, resolutions))
        claims: dict[str, list[Claim]] = {}
        for claim in claimant.claims:
            claims.setdefault(claim.host, []).append(claim)
        return cls(
            claimant=claimant,
            resolutions=resolutions,
            services=frozenset(ref.service for ref in resolutions),
            claims=claims,
            policies=policies.of_scope(PolicyScope.ROUTE),
            host_policies=for_hosts,
            backend_policies=for_backends,
            backend_identity=identity_of(for_backends),
            diagnostics=faults,
        )


def backend_refs(claimant: Claimant) -> Iterable[ServiceRef]:
    """Every backend whose existence decides a route of *claimant*, each once, in order."""
    refs: dict[ServiceRef, None] = {}
    split = claimant.policies.policies.get(TrafficSplit)
    for claim in claimant.claims:
        if isinstance(claim.backend, ServiceRef):
            refs[claim.backend] = None
            for share in shares(claim.backend, split):
                refs[share[0]] = None
    if refs:
        refs.update((ref, None) for ref in (fallback_ref(claimant), mirror_ref(claimant)) if ref is not None)
    return refs


def fallback_ref(claimant: Claimant) -> ServiceRef | None:
    """The Service that stands in for the backends of *claimant*; ``None``: none does.

    A canary has none of its own: its requests have the policies of their main path.
    """
    asked = claimant.policies.policies.get(FallbackService)
    if asked is None or asked.service is None or claimant.policies.variant is not None:
        return None
    return _named(claimant, asked.service)


def mirror_ref(claimant: Claimant) -> ServiceRef | None:
    """The Service that gets copies of the requests of *claimant*; ``None``: none does. Nor does a canary's."""
    asked = claimant.policies.policies.get(Mirror)
    if asked is None or not isinstance(asked.target, NamedService) or claimant.policies.variant is not None:
        return None
    return _named(claimant, asked.target)


def _named(claimant: Claimant, service: NamedService) -> ServiceRef:
    return ServiceRef(service=ObjectKey(claimant.namespace, service.name), port=service.port)


def shares(backend: ServiceRef, split: TrafficSplit | None) -> list[tuple[ServiceRef, int]]:
    """How a split divides the requests of *backend*; empty when it does not name that Service."""
    if split is None or all(name != backend.service.name for name, _ in split.shares):
        return []
    return [
        (replace(backend, service=backend.service._replace(name=name)), weight) for name, weight in split.shares
    ]


def _backend_faults(claimant: Claimant, resolutions: Mapping[ServiceRef, Resolution]) -> Iterable[Diagnostic]:
    split = claimant.policies.policies.get(TrafficSplit)
    told: set[tuple[str, ServiceRef]] = set()
    for claim in claimant.claims:
        if not isinstance(claim.backend, ServiceRef):
            continue
        for ref, weight in [(claim.backend, 1), *shares(claim.backend, split)]:
            resolution = resolutions[ref]
            if resolution.fault is None or (claim.origin.field, ref) in told:
                continue
            told.add((claim.origin.field, ref))
            field = claim.origin.field if claim.fallback else f"{claim.origin.field}.backend"
            effect = "the route responds 503"
            if claimant.policies.variant is not None:
                effect = "the requests of the canary go to its main path"
            if split is not None and (ref != claim.backend or weight == 0):
                effect = "its share goes to the others"
            yield Diagnostic(
                subject=claim.origin.subject,
                field=field,
                reason=resolution.fault.reason,
                message=f"{resolution.fault.message}; {effect}",
                related=(resolution.service,),
            )
    effect = "it stands in for no backend, and errors have no pages"
    yield from _beside_fault(claimant, resolutions, fallback_ref(claimant), FallbackService, "service", effect)
    effect = "no request is mirrored"
    yield from _beside_fault(claimant, resolutions, mirror_ref(claimant), Mirror, "target", effect)


def _beside_fault(
    claimant: Claimant,
    resolutions: Mapping[ServiceRef, Resolution],
    ref: ServiceRef | None,
    kind: type[Policy],
    field: str,
    effect: str,
) -> Iterable[Diagnostic]:
    """A Service that an annotation names and that does not exist: it costs the annotation only."""
    found = None if ref is None else resolutions.get(ref)
    if found is None or found.fault is None:
        return
    origin = claimant.policies.policies.origin(kind, field)
    yield Diagnostic(
        subject=claimant.ref,
        field=origin.field if origin else "",
        reason=found.fault.reason,
        message=f"{found.fault.message}; {effect}",
        severity=Severity.WARNING,
        related=(found.service,),
    )
