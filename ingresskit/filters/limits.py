"""How much a request may bring, and how many of them a client may send."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Address, Memory, Reply, RequestView
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.filters.ranges import AddressRanges
from ingresskit.graph import Termination
from ingresskit.policies import (
    BodyLimit,
    ClientKey,
    ConnectionLimit,
    KeySource,
    RateLimit,
    Shadow,
    Stage,
    cookie_value,
)

__all__ = ["COMPILERS", "BodyFilter", "ConnectionFilter", "RateFilter"]


@dataclass(frozen=True, slots=True)
class BodyFilter:
    """Refuses bodies that are declared to be larger than the limit: 413.

    A body of unknown length is counted by the runtime while it passes, up to the same limit.
    """

    stage: ClassVar[Stage] = Stage.BODY

    max_bytes: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.length is None or request.length <= self.max_bytes:
            return None
        return Reply(status=413, termination=Termination.BODY_TOO_LARGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFilter:
    """Refuses the requests of a client beyond its rates.

    Attributes:
        owner: Whose requests count together.
        rates: For each, requests a second, and how many may come at once.
        key: What a client is.
        exempt: Clients that are not counted.
        status: What the others get.
    """

    stage: ClassVar[Stage] = Stage.RATE

    owner: str
    rates: tuple[tuple[float, int], ...]
    key: ClientKey
    exempt: AddressRanges
    status: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if self.exempt and request.client in self.exempt:
            return None
        key = _key(self.key, request)
        if memory.take_all([(("rate", self.owner, rate, most, key), rate, most) for rate, most in self.rates]):
            return None
        return Reply(status=self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFilter:
    """Refuses the requests of a client beyond the number that it may have under way.

    Attributes:
        owner: Whose requests count together.
        most: Of a client at a time.
        key: What a client is.
        exempt: Clients that are not counted.
        status: What requests beyond it get.
    """

    stage: ClassVar[Stage] = Stage.RATE

    owner: str
    most: int
    key: ClientKey
    exempt: AddressRanges
    status: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if self.exempt and request.client in self.exempt:
            return None
        if memory.hold(("connections", self.owner, _key(self.key, request)), self.most):
            return None
        return Reply(status=self.status)


def _key(key: ClientKey, request: RequestView) -> object:
    """What tells the client of *request* apart; of a fixed size, whatever it sends."""
    if key.source is not KeySource.CLIENT:
        if key.source is KeySource.HEADER:
            value = request.field(key.name.encode("ascii"))
        else:
            value = cookie_value(request.field(b"cookie"), key.name)
        if value:
            return hashlib.blake2b(b"%b\0%b" % (str(key).encode("ascii"), value), digest_size=16).digest()
    return _client(request.client)


def _client(address: Address) -> int:
    """A number for an IPv4 address, and for the /64 that an IPv6 host can choose its address from."""
    return int(address) if address.version == 4 else -(int(address) >> 64) - 1


def _body(policy: BodyLimit) -> Effect:
    if not policy.max_bytes:
        return Effect()
    return Effect(guards=(BodyFilter(policy.max_bytes),), max_body_bytes=policy.max_bytes)


def _rates(policy: RateLimit) -> Effect:
    if not policy.rates:
        return Effect()
    guard = RateFilter(
        owner=policy.owner,
        rates=tuple((rate.per_second, policy.most(rate)) for rate in policy.rates),
        key=policy.key,
        exempt=AddressRanges(policy.exempt),
        status=policy.status,
    )
    return Effect(guards=(guard,))


def _connections(policy: ConnectionLimit) -> Effect:
    if not policy.most:
        return Effect()
    guard = ConnectionFilter(
        owner=policy.owner,
        most=policy.most,
        key=policy.key,
        exempt=AddressRanges(policy.exempt),
        status=policy.status,
    )
    return Effect(guards=(guard,))


def _shadow(_policy: Shadow) -> Effect:
    """Nothing by itself: `ingresskit.filters.chain_of` reads which stages are on trial."""
    return Effect()


# As in nginx, a request that is refused for its rate takes no place.
COMPILERS: Final = (
    Compiler(BodyLimit, _body),
    Compiler(RateLimit, _rates),
    Compiler(ConnectionLimit, _connections),
    Compiler(Shadow, _shadow),
)
