"""Which of the endpoints of a Service are near enough: those of the proxy's node or zone, or all of them. Pure.

Hints are what the control plane decided for all clients of a Service together, so that no endpoint gets more
than it can bear; they are followed as kube-proxy follows them. Who names a zone or node in an annotation
decides alone, by where the endpoints run.

Source: Kubernetes documentation, "Topology Aware Routing" and "Services", "Traffic distribution"; the rules for
hints are those of kube-proxy 1.35 (``pkg/proxy/topology.go``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, assert_never

from ingresskit.models import EndpointHints
from ingresskit.policies import NearBy

__all__ = ["NOWHERE", "Place", "Placed", "near"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the proxy runs. What is not known is empty, and then nothing is preferred by it.

    Attributes:
        zone: As the label ``topology.kubernetes.io/zone`` of its node.
        node: The name of its node.
    """

    zone: str = ""
    node: str = ""


NOWHERE = Place()
"""Nothing is known."""


class Placed(Protocol):
    """An endpoint, as far as its place goes."""

    @property
    def zone(self) -> str | None:
        """Where it runs."""
        ...

    @property
    def node(self) -> str | None:
        """The name of its node."""
        ...

    @property
    def hints(self) -> EndpointHints | None:
        """For whom it is meant."""
        ...


P = TypeVar("P", bound=Placed)

_DISTRIBUTIONS = {
    "PreferClose": NearBy.SAME_ZONE,
    "PreferSameZone": NearBy.SAME_ZONE,
    "PreferSameNode": NearBy.SAME_NODE,
}


def near(endpoints: Sequence[P], place: Place, wanted: NearBy, distribution: str | None) -> Sequence[P]:
    """Those of *endpoints* that are preferred from *place*; never empty where *endpoints* is not.

    Args:
        endpoints: All that are ready.
        place: Where the proxy is.
        wanted: What routes ask for.
        distribution: ``spec.trafficDistribution`` of the Service: it counts where no endpoint has hints, as
            in slices that are not written by Kubernetes.
    """
    match wanted:
        case NearBy.ANYWHERE:
            return endpoints
        case NearBy.HINTS:
            if any(item.hints for item in endpoints):
                return _by_hints(endpoints, place)
            nearness = _DISTRIBUTIONS.get(distribution or "", NearBy.ANYWHERE)
            return endpoints if nearness is NearBy.ANYWHERE else near(endpoints, place, nearness, None)
        case NearBy.SAME_NODE:
            same = _only(endpoints, lambda item: item.node == place.node) if place.node else ()
            return same or near(endpoints, place, NearBy.SAME_ZONE, None)
        case NearBy.SAME_ZONE:
            same = _only(endpoints, lambda item: item.zone == place.zone) if place.zone else ()
            return same or endpoints
        case _:
            assert_never(wanted)


def _by_hints(endpoints: Sequence[P], place: Place) -> Sequence[P]:
    """Hints say something only where every endpoint has them, and one of them is meant for this place."""
    hints = [item.hints or _NO_HINTS for item in endpoints]
    for name, meant in (
        (place.node, [{target.name for target in item.for_nodes} for item in hints]),
        (place.zone, [{target.name for target in item.for_zones} for item in hints]),
    ):
        if not all(meant):
            continue
        found = [item for item, names in zip(endpoints, meant, strict=True) if name in names]
        if found:
            return found
    return endpoints


def _only(endpoints: Sequence[P], test: Callable[[P], bool]) -> Sequence[P]:
    return [item for item in endpoints if test(item)]


_NO_HINTS = EndpointHints()
