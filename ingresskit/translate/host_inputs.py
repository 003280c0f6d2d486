"""Everything that decides a virtual host: who may be served on it, and what its claims resolve to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_

from ingresskit.diagnostics import Diagnostic
from ingresskit.models import ObjectRef
from ingresskit.translate.backends import Resolution
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["Held", "HostInputs"]


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
        claims: Those that name the host, oldest first; at least one, unless there is a default.
        held: Who may be served on it.
        default: Who takes what nothing here takes: the claim of an Ingress without rules.
        default_backend: The controller's own default backend, behind that.
        tls: Whether the host has TLS settings of its own.
    """

    host: str
    claims: tuple[ResolvedClaims, ...]
    held: Held
    default: ResolvedClaims | None
    default_backend: Resolution | None
    tls: bool

    def are(
        self,
        claims: Sequence[ResolvedClaims],
        held: Held,
        default: ResolvedClaims | None,
        default_backend: Resolution | None,
        tls: bool,
    ) -> bool:
        """Whether inputs made of these would equal these: asked of every host in every pass."""
        before = self.claims
        return (
            self.default is default
            and self.tls is tls
            and self.held is held
            and len(before) == len(claims)
            and all(map(is_, before, claims))
            and self.default_backend == default_backend
        )
