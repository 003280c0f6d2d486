"""Whether endpoints get requests, in one vocabulary for every proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from ingresskit.traffic.families import MetricFamily, MetricKind, labelled

__all__ = ["EndpointHealth", "health_families", "worse"]


class EndpointHealth(StrEnum):
    """Whether an endpoint gets requests. Values are stable; a later one keeps more requests away."""

    WELL = "well"
    UNREACHABLE = "unreachable"
    """A connection could not be made: others are preferred for some seconds."""
    EJECTED = "ejected"
    """Its requests failed; see `ingresskit.policies.PassiveHealth`."""
    UNHEALTHY = "unhealthy"
    """Its checks fail; see `ingresskit.policies.HealthCheck`."""


def worse(one: EndpointHealth, other: EndpointHealth) -> EndpointHealth:
    """The one of two that keeps more requests away."""
    order = list(EndpointHealth)
    return max(one, other, key=order.index)


def health_families(states: Iterable[EndpointHealth]) -> Iterator[MetricFamily]:
    """How many endpoints are in each state, as a metric: each state is there, also with 0."""
    counts = {str(state): 0.0 for state in EndpointHealth}
    for state in states:
        counts[str(state)] += 1
    yield labelled(
        "endpoints_by_health", "Endpoints in use, by health.", "health", counts, kind=MetricKind.GAUGE
    )
