"""Ejected endpoints and the choice of an endpoint: one probe at a time, by whichever algorithm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from ingresskit.graph import Termination
from ingresskit.policies import (
    Algorithm,
    HashBy,
    HashPart,
    HashSource,
    LoadBalancing,
    PassiveHealth,
    Policy,
    PolicySet,
    SlowStart,
)
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.balance import BackendState
from ingresskit.proxy.upstreams.uses import use_of
from ingresskit.traffic import EndpointHealth
from tests.unit.proxy.conftest import make_backend

PASSIVE = PassiveHealth(failures=1, time=timedelta(seconds=10), limit=100)
EJECTED = EndpointHealth.EJECTED


class Asked:
    """A request that says nothing of interest."""

    client = "192.0.2.1"
    method = b"GET"
    host = "web.example"
    path = "/"
    query = b""
    https = False
    sent_path = "/"

    def field(self, _name: bytes) -> bytes | None:
        return None


def state(*ports: int, policies: Iterable[Policy] = ()) -> BackendState:
    backend = replace(make_backend(*ports), policies=PolicySet([PASSIVE, *policies]))
    use = use_of(backend)
    return BackendState(
        backend, [EndpointState(one.address, one.port, backend.protocol, use) for one in backend.endpoints]
    )


def fail(backend: BackendState, endpoint: EndpointState, now: float) -> None:
    assert backend.outcomes is not None
    backend.outcomes.attempt_failed(endpoint, Termination.UPSTREAM_CLOSED, backend.endpoints, now)


def chosen(backend: BackendState, now: float, times: int) -> Counter[EndpointState]:
    found = (backend.choose("192.0.2.1", (), now) for _ in range(times))
    return Counter(one for one in found if one is not None)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_ejected_endpoint_gets_nothing_and_then_one_probe(algorithm: Algorithm) -> None:
    backend = state(1, 2, 3, policies=[LoadBalancing(algorithm=algorithm)])
    bad = backend.choose("192.0.2.1", (), 100.0)
    assert bad is not None
    fail(backend, bad, 100.0)

    during = chosen(backend, 105.0, 60)
    after = chosen(backend, 110.0, 200)

    assert bad.state is EJECTED
    assert during[bad] == 0
    assert after[bad] <= 1
    if algorithm is not Algorithm.RANDOM and algorithm is not Algorithm.EWMA:
        assert after[bad] == 1


def test_hash_leads_elsewhere_while_its_endpoint_is_ejected_and_back_by_one_probe() -> None:
    backend = state(1, 2, 3, policies=[HashBy(parts=(HashPart(HashSource.METHOD),))])
    home = backend.choose_for(Asked(), (), 100.0)[0]  # type: ignore[arg-type]  # as much as is read of it
    assert home is not None
    fail(backend, home, 100.0)

    during = {backend.choose_for(Asked(), (), 105.0)[0] for _ in range(5)}  # type: ignore[arg-type]  # the same
    probes = [backend.choose_for(Asked(), (), 110.0)[0] for _ in range(5)]  # type: ignore[arg-type]  # the same

    assert home not in during
    assert len(during) == 1
    assert probes == [home, *during, *during, *during, *during]


def test_connection_that_is_made_ends_no_ejection() -> None:
    backend = state(1, 2)
    bad = backend.endpoints[0]
    fail(backend, bad, 100.0)

    bad.worked()

    assert bad.state is EJECTED
    assert bad.retry_at == 110.0


def test_connection_that_is_not_made_shortens_no_ejection() -> None:
    backend = state(1, 2)
    bad = backend.endpoints[0]
    fail(backend, bad, 100.0)

    bad.failed(101.0)

    assert bad.retry_at == 110.0


def test_endpoint_that_returns_takes_its_share_by_and_by() -> None:
    backend = state(1, 2, policies=[SlowStart(window=timedelta(seconds=100))])
    bad, good = backend.endpoints
    assert backend.outcomes is not None
    fail(backend, bad, 100.0)
    backend.outcomes.succeeded(bad, 111.0)

    def share(now: float) -> float:
        found = Counter(backend.choose_for(Asked(), (), now)[0] for _ in range(2000))  # type: ignore[arg-type]  # the same
        assert set(found) == {bad, good}
        return found[bad] / 2000

    assert bad.state is EndpointHealth.WELL
    assert 0.01 < share(111.0) < 0.12
    assert 0.15 < share(161.0) < 0.4
    assert share(211.0) == 0.5


def test_others_that_are_new_take_a_request_where_all_are() -> None:
    backend = state(1, 2, policies=[SlowStart(window=timedelta(seconds=100))])
    for endpoint in backend.endpoints:
        endpoint.since = 100.0

    found = [backend.choose_for(Asked(), (), 100.0)[0] for _ in range(50)]  # type: ignore[arg-type]  # the same

    assert None not in found
    assert set(found) == set(backend.endpoints)


def test_all_that_fail_leave_one() -> None:
    backend = state(1, 2, 3)
    for endpoint in backend.endpoints:
        fail(backend, endpoint, 100.0)

    assert [endpoint.state for endpoint in backend.endpoints] == [EJECTED, EJECTED, EndpointHealth.WELL]
