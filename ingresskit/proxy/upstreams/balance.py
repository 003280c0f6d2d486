"""Which backend, and which of its endpoints, takes a request."""

from __future__ import annotations

import operator
import random
import secrets
import zlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Backend, BackendKey, Forward, PathMatch, WeightedBackend
from ingresskit.policies import (
    Affinity,
    Algorithm,
    EndpointLimit,
    HashBy,
    HealthCheck,
    LoadBalancing,
    PassiveHealth,
    SlowStart,
)
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.statistics import BackendStatistics
from ingresskit.proxy.upstreams.affinity import AffinityCookies
from ingresskit.proxy.upstreams.budget import RetryBudget
from ingresskit.proxy.upstreams.checks import Checks
from ingresskit.proxy.upstreams.hashing import HasFields, hash_of, highest
from ingresskit.proxy.upstreams.outcomes import Outcomes
from ingresskit.proxy.upstreams.pool import Pool
from ingresskit.proxy.upstreams.queue import Queue
from ingresskit.proxy.upstreams.slow_start import share_of
from ingresskit.proxy.upstreams.uses import use_of

if TYPE_CHECKING:
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.render.inprocess import RoutingTable, Target

__all__ = ["BackendState", "Balancer"]

_ROUND_ROBIN: Final = Algorithm.ROUND_ROBIN
_CLIENT_HASH: Final = Algorithm.CLIENT_HASH
_seed: Final = operator.attrgetter("seed")
_WITHOUT_LIMIT: Final = EndpointLimit()
_AT_ONCE: Final = SlowStart()
_BY_DEFAULT: Final = LoadBalancing()


class BackendState:
    """What is known of one backend. It follows the table: see `Balancer.backend`.

    Attributes:
        timed: The algorithm needs to know how long requests took: call `EndpointState.took`.
        reads_request: The endpoint depends on what the request says: ask `choose_for`.
        affinity: Cookies that keep clients at their endpoints; ``None``: there are none.
        outcomes: Judges endpoints by how requests went; ``None``: nobody asks.
        queue: Where requests wait for an endpoint; ``None``: they do not.
        limited: Endpoints take no more than so many requests at a time.
        observed: Any of the last three asks for an `ObservedExchange`.
    """

    __slots__ = (
        *("_budgets", "_hash", "_limit", "_next", "_slow", "active", "affinity", "algorithm", "backend"),
        *("endpoints", "failures", "limited", "observed", "outcomes", "queue", "reads_request", "requests"),
        "timed",
    )

    def __init__(self, backend: Backend, endpoints: list[EndpointState], key: bytes = b"") -> None:
        self.backend: Backend = backend
        # The key of a backend determines its policies.
        self.algorithm: Algorithm = (backend.policies.get(LoadBalancing) or _BY_DEFAULT).algorithm
        self.timed: bool = self.algorithm is Algorithm.EWMA
        self._hash = _asked(backend.policies.get(HashBy))
        self.affinity: AffinityCookies | None = None
        self.use_key(key)
        limit = backend.policies.get(EndpointLimit) or _WITHOUT_LIMIT
        self._limit = limit.requests
        self._slow = (backend.policies.get(SlowStart) or _AT_ONCE).window.total_seconds()
        by_request = self._limit > 0 or self._hash is not None or self.algorithm is _CLIENT_HASH
        by_request = by_request or self._slow > 0
        self.reads_request: bool = by_request or _keeps_clients(backend)
        self.endpoints: list[EndpointState] = endpoints
        passive = backend.policies.get(PassiveHealth)
        self.outcomes: Outcomes | None = None if passive is None or not passive.enabled else Outcomes(passive)
        self.limited: bool = limit.requests > 0
        self.queue: Queue | None = None
        if limit.requests and limit.queue:
            self.queue = Queue(limit.queue, limit.queue_timeout.total_seconds())
            self.queue.watch(endpoints)
        self.observed: bool = self.limited or self.outcomes is not None
        self._budgets: dict[int, RetryBudget] = {}
        self.requests: int = 0
        self.failures: int = 0
        self.active: int = 0
        # Not 0: many proxies that start together would all begin with the same endpoint.
        self._next = random.randrange(max(1, len(endpoints)))  # noqa: S311 - spreads load, guards nothing

    def use_key(self, key: bytes) -> None:
        """Let *key* be what the values of affinity cookies are made with."""
        policy = self.backend.policies.get(Affinity)
        if policy is not None and policy.cookie:
            self.affinity = AffinityCookies(policy, key, self.backend.key)

    def budget(self, percent: int) -> RetryBudget:
        """The further tries of the routes that let these be so many per cent of their requests."""
        if (found := self._budgets.get(percent)) is None:
            found = self._budgets[percent] = RetryBudget(percent)
        return found

    def use(self, backend: Backend, endpoints: list[EndpointState], now: float) -> None:
        """Let *endpoints* be those of *backend*, the same one with others than before."""
        if self._slow and self.endpoints:
            known = set(self.endpoints)
            for endpoint in endpoints:
                if endpoint not in known:
                    endpoint.since = now
        self.backend, self.endpoints = backend, endpoints
        if self.queue is not None:
            self.queue.watch(endpoints)

    def leave(self) -> None:
        """No route leads here any more."""
        if self.queue is not None:
            self.queue.watch(())

    def choose_for(
        self, request: ForwardedRequest, tried: Collection[EndpointState], now: float
    ) -> tuple[EndpointState | None, bytes]:
        """The endpoint for *request*, by what it says, and the field that keeps the client there.

        Args:
            request: It.
            tried: As in `choose`.
            now: As in `choose`.

        Returns:
            As `choose`; the field is a line for the response, empty where the client needs none.
        """
        affinity, endpoints = self.affinity, self.endpoints
        if limit := self._limit:
            tried = (*tried, *(item for item in endpoints if item.active >= limit))
        if affinity is None or not endpoints:
            return self._choose_by(request, tried, now), b""
        found, needs_cookie = affinity.find(request, endpoints, tried, now)
        if found is not None:
            if found.suspect:
                found.probed(now)
            return found, b""
        value = b""
        if needs_cookie:
            value, found = affinity.begin(endpoints, tried, now)
        if found is None:
            found = self._choose_by(request, tried, now)
        elif found.suspect and found.retry_at <= now:
            found.probed(now)
        if found is None or not needs_cookie:
            return found, b""
        return found, affinity.line(value or affinity.value_of(found), request)

    def _choose_by(
        self, request: ForwardedRequest, tried: Collection[EndpointState], now: float
    ) -> EndpointState | None:
        """The endpoint by a hash, where there is one, else by the algorithm."""
        if (asked := self._hash) is None:
            if self.algorithm is _CLIENT_HASH:
                return self.choose(str(request.client), tried, now)
            if self._slow and (held := self._held_back(tried, now)):
                tried = (*tried, *held)
            return self.choose("", tried, now)
        left = [item for item in self.endpoints if item not in tried]
        if not left:
            return None
        hashed = hash_of(asked.parts, request)
        # The group first: an endpoint that fails is no reason for its requests to go to all others.
        group = highest(self.endpoints, hashed, _seed, asked.subset) if asked.subset > 1 else left
        well = [item for item in group if item.retry_at <= now and item not in tried]
        well = well or [item for item in left if item.retry_at <= now] or left
        chosen = random.choice(well) if asked.subset > 1 else highest(well, hashed, _seed)[0]  # noqa: S311 - spreads load
        if chosen.suspect and chosen.retry_at <= now:
            chosen.probed(now)
        return chosen

    def _held_back(self, tried: Collection[EndpointState], now: float) -> list[EndpointState]:
        """The endpoints that are new and do not take this request; empty where that would leave none."""
        held: list[EndpointState] = []
        others = 0
        for endpoint in self.endpoints:
            if endpoint in tried:
                continue
            share = share_of(endpoint.since, now, self._slow)
            if share < 1.0 and random.random() >= share:  # noqa: S311 - spreads load
                held.append(endpoint)
            elif endpoint.retry_at <= now:
                others += 1
        return held if others else []

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
                    if found.suspect:
                        found.probed(now)
                    return found
        left = [item for item in endpoints if item not in tried]
        well = [item for item in left if item.retry_at <= now] or left
        if not well:
            return None
        self._next = (self._next + 1) % count
        chosen = self._choose_among(well, algorithm, client, now)
        if chosen.suspect and chosen.retry_at <= now:
            chosen.probed(now)
        return chosen

    def _choose_among(
        self, well: list[EndpointState], algorithm: Algorithm, client: str, now: float
    ) -> EndpointState:
        match algorithm:
            case Algorithm.ROUND_ROBIN:
                return well[self._next % len(well)]
            case Algorithm.LEAST_CONNECTIONS:
                start = self._next % len(well)
                return min(well[start:] + well[:start], key=lambda item: item.active)
            case Algorithm.RANDOM:
                # Of two, the one with fewer requests: nearly as even as asking all, and no herd.
                return min(_two(well), key=lambda item: item.active)
            case Algorithm.EWMA:
                return min(_two(well), key=lambda item: item.cost(now))
            case Algorithm.CLIENT_HASH:
                # Highest random weight: when an endpoint goes, only its own clients move.
                return max(well, key=lambda item: (zlib.crc32(f"{client}|{item}".encode()), str(item)))


def _two(well: list[EndpointState]) -> list[EndpointState]:
    return random.sample(well, 2) if len(well) > 1 else well


def _keeps_clients(backend: Backend) -> bool:
    policy = backend.policies.get(Affinity)
    return policy is not None and policy.cookie != ""


def _is_checked(backend: Backend) -> bool:
    policy = backend.policies.get(HealthCheck)
    return policy is not None and policy.path is not None


def _asked(policy: HashBy | None) -> HashBy | None:
    return policy if policy is not None and policy.parts else None


class Balancer:
    """The states of all backends in use.

    Args:
        pool: Has the endpoints.
        checks: Checks them, where their backends want that; ``None``: nothing does.
    """

    def __init__(self, pool: Pool, checks: Checks | None = None) -> None:
        self._pool = pool
        self._checks = checks
        # Of this process alone, and so are its cookies, where the table brings none.
        self._own_key = secrets.token_bytes(32)
        self._key = self._own_key
        self._backends: dict[BackendKey, BackendState] = {}
        self._shares: dict[tuple[WeightedBackend, ...], list[int]] = {}
        # Of actions with one backend, by identity, which they keep while they are here.
        self._single: dict[int, tuple[Forward, BackendState]] = {}

    def choose_backend(self, action: Forward, table: RoutingTable, request: HasFields) -> BackendState | None:
        """The backend for a request, by weight among those that have endpoints; ``None``: none has.

        Where the client has an affinity cookie of one of them, it is that one.

        Args:
            action: Of the route.
            table: The one that `follow` was called with last, or the first one.
            request: The request.
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
        if action.backends[0].key.policies and (held := self._held(action, table, request)) is not None:
            return held
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

    def sticky_target(
        self, targets: Iterable[Target], table: RoutingTable, request: HasFields
    ) -> Target | None:
        """The variant, or the main target, whose affinity cookie the client has; ``None``: none.

        Args:
            targets: All that may take the request, in the order in which they are asked.
            table: As in `choose_backend`.
            request: The request.
        """
        match: PathMatch | None = None
        for target in targets:
            match = match or target.route.match
            if target.route.match != match:
                return None
            action = target.route.action
            if isinstance(action, Forward) and self._held(action, table, request, sticky=True) is not None:
                return target
        return None

    def _held(
        self, action: Forward, table: RoutingTable, request: HasFields, *, sticky: bool = False
    ) -> BackendState | None:
        """The backend of *action* whose affinity cookie the client has; ``None``: it has none of them."""
        for key, _ in action.backends:
            if not key.policies or (backend := table.backends.get(key)) is None or not backend.endpoints:
                continue
            state = self.backend(backend)
            affinity = state.affinity
            if affinity is None or (sticky and not affinity.sticky):
                continue
            if affinity.holds(request, state.endpoints):
                return state
        return None

    def backend(self, backend: Backend) -> BackendState:
        """The state of a backend, brought up to date with its endpoints in the table."""
        state = self._backends.get(backend.key)
        if state is None:
            state = BackendState(backend, self._join(backend), self._key)
            self._backends[backend.key] = state
        elif state.backend is not backend:
            before = state.endpoints
            # The new ones first: an endpoint in both keeps its connections.
            state.use(backend, self._join(backend), self._pool.now())
            for endpoint in before:
                self._pool.leave(endpoint)
        return state

    def follow(self, table: RoutingTable) -> None:
        """Let go of what *table* does not have. Others are brought up to date when they are used."""
        self._single.clear()
        if self._key != (key := table.affinity_key or self._own_key):
            self._key = key
            for state in self._backends.values():
                state.use_key(key)
        for name in [name for name in self._backends if name not in table.backends]:
            gone = self._backends.pop(name)
            gone.leave()
            for endpoint in gone.endpoints:
                self._pool.leave(endpoint)
        if len(self._shares) > 1024:
            self._shares.clear()
        if self._checks is not None:
            # Whoever is checked is in use, also before the first request.
            checked = [item for key, item in table.backends.items() if key.policies and _is_checked(item)]
            self._checks.watch(endpoint for item in checked for endpoint in self.backend(item).endpoints)

    def statistics(self) -> dict[BackendKey, BackendStatistics]:
        """By backend."""
        return {
            key: BackendStatistics(requests=state.requests, failures=state.failures, active=state.active)
            for key, state in sorted(self._backends.items())
        }

    def _join(self, backend: Backend) -> list[EndpointState]:
        # Others for another protocol, or other policies: the key of a backend determines both.
        use = use_of(backend)
        return [self._pool.endpoint(endpoint, backend.protocol, use) for endpoint in backend.endpoints]
