"""Finds certificates for hosts that no rule names: nothing is served there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import ANY_HOST, host_candidates
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.claims import Claimant
from ingresskit.translate.holders import HolderTable

__all__ = ["missing_rules"]

_MOST_NAMES = 5


def missing_rules(
    claimant: Claimant, index: ClaimIndex, holders: HolderTable, decided: Set[str]
) -> Iterator[Diagnostic]:
    """A warning for each host of its TLS entries that no rule names.

    Rules of other namespaces do not count: what others claim changes nothing of what a namespace is told.

    Args:
        claimant: The object with the TLS entries.
        index: The claims of the snapshot at hand.
        holders: Who holds each host.
        decided: The server names that TLS entries decide.
    """
    # Rules of its own for any host, or none, take requests for whatever its certificates are for.
    if ANY_HOST in claimant.hosts or claimant.catch_all is not None:
        return
    ruled = _Ruled(claimant.namespace, index, holders)
    for claim in claimant.tls:
        for host in claim.hosts:
            if any(map(ruled.has, host_candidates(host))) or ruled.has_below(host):
                continue
            message = f"no rule names the host {host}"
            if bare := [name for name in claimant.hosts if name not in decided]:
                message += f"; the rules of this Ingress are for {_some(bare)}, without a certificate"
            origin = claim.names(host)
            yield Diagnostic(
                subject=origin.subject,
                field=origin.field,
                reason=Reason.TLS_HOST_WITHOUT_RULE,
                message=message,
                severity=Severity.WARNING,
            )


class _Ruled:
    """The hosts that rules name, as far as the certificates of a namespace are served for them."""

    def __init__(self, namespace: str, index: ClaimIndex, holders: HolderTable) -> None:
        self._namespace = namespace
        self._index = index
        self._holders = holders

    def has(self, host: str) -> bool:
        """Whether the namespace may serve its certificate for *host*, which a rule names."""
        if host == ANY_HOST or host not in self._index.by_host:
            return False
        return self._holders.named_owner(host) in (None, self._namespace)

    def has_below(self, host: str) -> bool:
        """Whether *host* is a wildcard, and the same holds for a name below it."""
        return any(map(self.has, self._index.below(host)))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown
