"""Who holds the host of a request, since when, and why: read from the record of claims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ingresskit.graph.hosts import HostRefused, host_candidates, normalise_host
from ingresskit.models import HostClaims

__all__ = ["HostHolder", "holder_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHolder:
    """The namespace that holds a host.

    Attributes:
        host: The rule host that it holds: the host itself, the wildcard above it, or ``*``.
        since: When a controller first granted it; ``None`` when unknown.
        released: When its last claim went, while a grace period keeps the host held; else ``None``.
        reserved: Whether an administrator reserved the host for it.
    """

    host: str
    namespace: str
    since: datetime | None = None
    released: datetime | None = None
    reserved: bool = False

    @property
    def why(self) -> str:
        """Why it holds the host: one clause."""
        if self.released is not None:
            return f"its last claim went at {_time(self.released)}, and the grace period is not over"
        if self.reserved:
            return "the annotation ingresskit.dev/hosts of its Namespace reserves it"
        return "it claimed the host first, and still claims it"

    def __str__(self) -> str:
        """``"shop.test is held by namespace shop since 2026-11-30T08:00:00Z: it claimed …"``."""
        what = "every other host" if self.host == "*" else self.host
        since = f" since {_time(self.since)}" if self.since is not None else ""
        return f"{what} is held by namespace {self.namespace}{since}: {self.why}"


def holder_of(claims: HostClaims, host: str) -> HostHolder | None:
    """The holder of the most specific rule host that takes requests for *host*.

    Args:
        claims: The record, as a translation gave it (`ingresskit.translate.Translation.claims`).
        host: As the client sent it, with or without port.

    Returns:
        The holder; ``None`` when nobody holds it, when hosts are shared, and when *host* is not a host.
    """
    try:
        candidates = host_candidates(normalise_host(host))
    except HostRefused:
        return None
    for name in candidates:
        if (claim := claims.get(name)) is not None:
            return HostHolder(
                host=name,
                namespace=claim.namespace,
                since=claim.since,
                released=claim.released,
                reserved=claim.reserved,
            )
    return None


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
