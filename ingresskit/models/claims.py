"""The record of host claims: which namespace holds which host, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["NO_CLAIMS", "HostClaim", "HostClaims"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClaim:
    """The hold of one namespace on one host.

    Attributes:
        namespace: The namespace that holds the host.
        since: When a controller first granted it, in UTC and whole seconds; ``None`` when unknown.
        released: When the last claim of the namespace went, while a grace period keeps the host held;
            ``None`` while the namespace claims the host.
        reserved: Whether an administrator reserved the host for the namespace, by the annotation
            ``ingresskit.dev/hosts`` of its Namespace. A fact of the moment, which no record keeps.
    """

    namespace: str
    since: datetime | None = None
    released: datetime | None = None
    reserved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClaims:
    """The record of host claims: an input of translation, and one of its results.

    Translation is a pure function of a snapshot *and* this record: a namespace in it keeps its hosts
    while it claims them, whatever objects others create or edit. Immutable; successive records share
    the claims that did not change.

    Attributes:
        by_host: The claim on each host: a lower-case name, ``*.`` and a name, or ``*``.
    """

    by_host: Mapping[str, HostClaim] = field(default_factory=dict[str, HostClaim])

    def get(self, host: str) -> HostClaim | None:
        """The claim on exactly that rule host; ``None`` when it is not held."""
        return self.by_host.get(host)

    def __len__(self) -> int:
        return len(self.by_host)


NO_CLAIMS = HostClaims()
"""The record of a controller that has seen nothing yet: the oldest claim on each host decides."""
