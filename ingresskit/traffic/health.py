"""Whether endpoints get requests, in one vocabulary for every proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from ingresskit.traffic.families import MetricFamily, MetricKind, gauge, labelled

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


def health_families(states: Iterable[EndpointHealth], ejections: int) -> Iterator[MetricFamily]:
    """How many endpoints are not well, and why, as a metric: each state is there, also with 0.

    Args:
        states: Of all endpoints that are not well.
        ejections: Of those that are in use, so far.
    """
    counts = {str(state): 0.0 for state in EndpointHealth if state is not EndpointHealth.WELL}
    for state in states:
        counts[str(state)] += 1
    text = "Endpoints that are not well, by the reason."
    yield labelled("endpoints_unwell", text, "health", counts, kind=MetricKind.GAUGE)
    yield gauge("endpoint_ejections", "Ejections of the endpoints that are in use.", ejections)
