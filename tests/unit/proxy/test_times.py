"""The choice of an endpoint by the times of its requests."""

from __future__ import annotations

from dataclasses import replace

from ingresskit.graph import Protocol
from ingresskit.policies import Algorithm, LoadBalancing, PolicySet
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.balance import BackendState
from tests.unit.proxy.conftest import make_backend


def state(*ports: int) -> BackendState:
    held = PolicySet([LoadBalancing(algorithm=Algorithm.EWMA)])
    backend = replace(make_backend(*ports), policies=held)
    return BackendState(
        backend, [EndpointState(one.address, one.port, Protocol.HTTP) for one in backend.endpoints]
    )


def test_the_quicker_of_two_endpoints_is_chosen() -> None:
    backend = state(1, 2)
    slow, quick = backend.endpoints
    slow.took(0.5, 100.0)
    quick.took(0.01, 100.0)

    assert {backend.choose("", (), 100.0) for _ in range(20)} == {quick}


def test_an_endpoint_that_was_never_asked_is_asked() -> None:
    backend = state(1, 2)
    known, new = backend.endpoints
    known.took(0.01, 100.0)

    assert backend.choose("", (), 100.0) is new


def test_requests_under_way_count() -> None:
    backend = state(1, 2)
    busy, idle = backend.endpoints
    busy.took(0.1, 100.0)
    idle.took(0.3, 100.0)
    busy.active = 5

    assert backend.choose("", (), 100.0) is idle


def test_a_peak_counts_at_once_and_is_forgotten_in_time() -> None:
    (endpoint,) = state(1).endpoints
    endpoint.took(0.1, 100.0)
    endpoint.took(2.0, 101.0)
    peak = endpoint.cost(101.0)
    later = endpoint.cost(131.0)
    endpoint.took(0.1, 131.0)

    assert peak == 2.0
    assert later < 0.11
    assert endpoint.cost(131.0) < 0.2


def test_one_endpoint_is_enough() -> None:
    backend = state(1)

    assert backend.choose("", (), 1.0) is backend.endpoints[0]
    assert backend.choose("", (backend.endpoints[0],), 1.0) is None
