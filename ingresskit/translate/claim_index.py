"""Finds the claims that a change touches: by host, by Service, by the wildcard above a host."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ingresskit.graph import wildcard_above
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.translate.claims import Age
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["ClaimIndex"]

_NONE: Collection[str] = frozenset()


class ClaimIndex:
    """The claims of all claimants that are ours.

    Attributes:
        by_host: For each host that is claimed, the claims on it, oldest first; a host without is absent.
        by_claimant: For each claimant.
    """

    def __init__(self) -> None:
        self.by_host: dict[str, tuple[ResolvedClaims, ...]] = {}
        self.by_claimant: dict[ObjectRef, ResolvedClaims] = {}
        self._by_service: dict[ObjectKey, set[ObjectRef]] = {}
        self._below: dict[str, set[str]] = {}

    def update(self, changed: Mapping[ObjectRef, ResolvedClaims | None]) -> set[str]:
        """Let these be the claims of these claimants; ``None``: it has none.

        Returns:
            The hosts that they claimed before or claim now.
        """
        removed: dict[str, set[ResolvedClaims]] = {}
        added: dict[str, list[ResolvedClaims]] = {}
        for ref, new in changed.items():
            old = self.by_claimant.pop(ref, None)
            if old is not None:
                self._unlink(ref, old)
                for host in old.claimed_hosts:
                    removed.setdefault(host, set()).add(old)
            if new is not None:
                self.by_claimant[ref] = new
                for service in new.services:
                    self._by_service.setdefault(service, set()).add(ref)
                for host in new.claimed_hosts:
                    added.setdefault(host, []).append(new)
        touched = removed.keys() | added.keys()
        for host in touched:
            self._place(host, removed.get(host, set()), added.get(host, []))
        return touched

    def using(self, service: ObjectKey) -> Collection[ObjectRef]:
        """The claimants with a backend of that Service."""
        return self._by_service.get(service, ())

    def below(self, wildcard: str) -> Collection[str]:
        """The claimed hosts directly below a wildcard, in no order."""
        return self._below.get(wildcard, _NONE)

    def _unlink(self, ref: ObjectRef, claims: ResolvedClaims) -> None:
        for service in claims.services:
            users = self._by_service[service]
            users.discard(ref)
            if not users:
                del self._by_service[service]

    def _place(self, host: str, removed: set[ResolvedClaims], added: list[ResolvedClaims]) -> None:
        before = self.by_host.get(host, ())
        items = [item for item in before if item not in removed] if removed else list(before)
        items += added
        above = wildcard_above(host)
        if items:
            items.sort(key=_precedence)
            self.by_host[host] = tuple(items)
            if above:
                self._below.setdefault(above, set()).add(host)
            return
        self.by_host.pop(host, None)
        if (names := self._below.get(above)) is not None:
            names.discard(host)
            if not names:
                del self._below[above]


def _precedence(item: ResolvedClaims) -> tuple[bool, Age, str]:
    return item.claimant.precedence
