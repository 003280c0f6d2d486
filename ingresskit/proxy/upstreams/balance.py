"""Which backend, and which of its endpoints, takes a request."""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Backend, BackendKey, Forward, WeightedBackend
from ingresskit.policies import Algorithm, LoadBalancing
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.statistics import BackendStatistics
from ingresskit.proxy.upstreams.pool import Pool

if TYPE_CHECKING:
    from ingresskit.render.inprocess import RoutingTable

__all__ = ["BackendState", "Balancer"]

_ROUND_ROBIN: Final = Algorithm.ROUND_ROBIN
_BY_DEFAULT: Final = LoadBalancing()


class BackendState:
    """What is known of one backend. It follows the table: see `Balancer.backend`."""

    __slots__ = ("_next", "active", "algorithm", "backend", "endpoints", "failures", "requests")

    def __init__(self, backend: Backend, endpoints: list[EndpointState]) -> None:
        self.backend: Backend = backend
        # The key of a backend determines its policies.
        self.algorithm: Algorithm = (backend.policies.get(LoadBalancing) or _BY_DEFAULT).algorithm
        self.endpoints: list[EndpointState] = endpoints
        self.requests: int = 0
        self.failures: int = 0
        self.active: int = 0
        # Not 0: many proxies that start together would all begin with the same endpoint.
        self._next = random.randrange(max(1, len(endpoints)))  # noqa: S311 - spreads load, guards nothing

    def choose(self, client: str, tried: Collection[EndpointState], now: float) -> EndpointState | None:
        """The endpoint for a request.

        Args:
            client: The client's address, for `Algorithm.CLIENT_HASH`.
            tried: Not these.
            now: Of the loop's clock.

        Returns:
            One that is well if there is any, else one that is not; ``None`` when all were tried.
        """
        endpoints, algorithm = self.endpoints, self.algorithm
        count = len(endpoints)
        if algorithm is _ROUND_ROBIN:
            # The common case without building a list: the next one that is well.
            for _ in range(count):
                self._next = (self._next + 1) % count
                found = endpoints[self._next]
                if found.retry_at <= now and found not in tried:
                    if found.unreached:
                        found.probed(now)
                    return found
        left = [item for item in endpoints if item not in tried]
        well = [item for item in left if item.retry_at <= now] or left
        if not well:
            return None
        self._next = (self._next + 1) % count
        chosen = self._choose_among(well, algorithm, client)
        if chosen.unreached and chosen.retry_at <= now:
            chosen.probed(now)
        return chosen

    def _choose_among(self, well: list[EndpointState], algorithm: Algorithm, client: str) -> EndpointState:
        match algorithm:
            case Algorithm.ROUND_ROBIN:
                return well[self._next % len(well)]
            case Algorithm.LEAST_CONNECTIONS:
                start = self._next % len(well)
                return min(well[start:] + well[:start], key=lambda item: item.active)
            case Algorithm.RANDOM:
                return random.choice(well)  # noqa: S311 - spreading load, not keeping secrets
            case Algorithm.CLIENT_HASH:
                # Highest random weight: when an endpoint goes, only its own clients move.
                return max(well, key=lambda item: (zlib.crc32(f"{client}|{item}".encode()), str(item)))


class Balancer:
    """The states of all backends in use."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._backends: dict[BackendKey, BackendState] = {}
        self._shares: dict[tuple[WeightedBackend, ...], list[int]] = {}
        # Of actions with one backend, by identity, which they keep while they are here.
        self._single: dict[int, tuple[Forward, BackendState]] = {}

    def choose_backend(self, action: Forward, table: RoutingTable) -> BackendState | None:
        """The backend for a request, by weight among those that have endpoints; ``None``: none has.

        Args:
            action: Of the route.
            table: The one that `follow` was called with last, or the first one.
        """
        if len(action.backends) == 1:
            if (known := self._single.get(id(action))) is not None:
                return known[1]
            backend = table.backends.get(action.backends[0].key)
            if backend is None or not backend.endpoints:
                return None
            state = self.backend(backend)
            self._single[id(action)] = (action, state)
            return state
        shares = self._shares.get(action.backends)
        if shares is None:
            shares = self._shares[action.backends] = [0] * len(action.backends)
        # Smooth weighted round robin: each gains its weight, the richest is chosen and pays for all.
        best, total, chosen = -1, 0, None
        for index, (key, weight) in enumerate(action.backends):
            backend = table.backends.get(key)
            if backend is None or not backend.endpoints:
                continue
            shares[index] += weight
            total += weight
            if best < 0 or shares[index] > shares[best]:
                best, chosen = index, backend
        if chosen is None:
            return None
        shares[best] -= total
        return self.backend(chosen)

    def backend(self, backend: Backend) -> BackendState:
        """The state of a backend, brought up to date with its endpoints in the table."""
        state = self._backends.get(backend.key)
        if state is None:
            state = BackendState(backend, self._join(backend))
            self._backends[backend.key] = state
        elif state.backend is not backend:
            before = state.endpoints
            # The new ones first: an endpoint in both keeps its connections.
            state.endpoints = self._join(backend)
            state.backend = backend
            for endpoint in before:
                self._pool.leave(endpoint)
        return state

    def follow(self, table: RoutingTable) -> None:
        """Let go of what *table* does not have. Others are brought up to date when they are used."""
        self._single.clear()
        for key in [key for key in self._backends if key not in table.backends]:
            for endpoint in self._backends.pop(key).endpoints:
                self._pool.leave(endpoint)
        if len(self._shares) > 1024:
            self._shares.clear()

    def statistics(self) -> dict[BackendKey, BackendStatistics]:
        """By backend."""
        return {
            key: BackendStatistics(requests=state.requests, failures=state.failures, active=state.active)
            for key, state in sorted(self._backends.items())
        }

    def _join(self, backend: Backend) -> list[EndpointState]:
        return [self._pool.endpoint(endpoint, backend.protocol) for endpoint in backend.endpoints]
