"""Who is let in: client addresses, and plain HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.filters.ranges import AddressRanges
from ingresskit.policies import AllowedSources, DeniedSources, Stage

__all__ = ["COMPILERS", "AddressFilter", "DeniedAddressFilter", "PlainHttpFilter"]


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """Lets clients in whose address is in one of the ranges; 403 for all others."""

    stage: ClassVar[Stage] = Stage.ADDRESS

    allowed: AddressRanges

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        return None if request.client in self.allowed else Reply(status=403)


@dataclass(frozen=True, slots=True)
class DeniedAddressFilter:
    """Keeps clients out whose address is in one of the ranges: 403."""

    stage: ClassVar[Stage] = Stage.ADDRESS

    denied: AddressRanges

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        return Reply(status=403) if request.client in self.denied else None


@dataclass(frozen=True, slots=True)
class PlainHttpFilter:
    """Refuses requests without TLS: 403."""

    stage: ClassVar[Stage] = Stage.PLAIN_HTTP

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        return None if request.https else Reply(status=403)


def _addresses(policy: AllowedSources) -> Effect:
    return Effect(guards=(AddressFilter(AddressRanges(policy.networks)),)) if policy.networks else Effect()


def _denied(policy: DeniedSources) -> Effect:
    return (
        Effect(guards=(DeniedAddressFilter(AddressRanges(policy.networks)),)) if policy.networks else Effect()
    )


# Whom both name is kept out: the deny list stands first.
COMPILERS: Final = (Compiler(DeniedSources, _denied), Compiler(AllowedSources, _addresses))
