"""Service, and the two kinds that list its endpoints: EndpointSlice and the older Endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.models.load_balancer import NO_ADDRESSES, WithLoadBalancer
from ingresskit.models.meta import KubeObject, Many, ObjectKey, WireModel

__all__ = [
    "EndpointAddress",
    "EndpointConditions",
    "EndpointHints",
    "EndpointPort",
    "EndpointSlice",
    "EndpointSubset",
    "Endpoints",
    "HintTarget",
    "Service",
    "ServicePort",
    "ServiceSpec",
    "SliceEndpoint",
]

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort(WireModel):
    """One port of a Service. A single port may have no name.

    Attributes:
        target_port: Of the pods, by number or name; read for messages only, since slices have the numbers.
    """

    port: int
    name: str | None = None
    target_port: int | str | None = None
    protocol: str | None = None
    app_protocol: str | None = None
    node_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec(WireModel):
    """What a Service is. ``type`` is ``None`` where a file leaves it out: ClusterIP."""

    type: str | None = None
    cluster_ip: str | None = None
    external_name: str | None = None
    external_ips: Many[str] = ()
    traffic_distribution: str | None = None
    ports: Many[ServicePort] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(KubeObject):
    """A Service."""

    kind: ClassVar[str] = "Service"
    resource: ClassVar[str] = "services"
    api_version: ClassVar[str] = "v1"

    spec: ServiceSpec = ServiceSpec()
    status: WithLoadBalancer = NO_ADDRESSES


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConditions(WireModel):
    """State of one endpoint; ``None`` is "unknown", which the API says to read as ready and serving."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HintTarget(WireModel):
    """A zone or a node that an endpoint is meant for."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHints(WireModel):
    """Which clients an endpoint is meant for. False: the control plane does not say.

    Attributes:
        for_zones: Those on nodes of these zones.
        for_nodes: Those on these nodes.
    """

    for_zones: Many[HintTarget] = ()
    for_nodes: Many[HintTarget] = ()

    def __bool__(self) -> bool:
        return bool(self.for_zones or self.for_nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint(WireModel):
    """One endpoint of a slice. All its addresses lead to the same pod; only the first is used."""

    addresses: Many[str] = ()
    conditions: EndpointConditions | None = None
    zone: str | None = None
    node_name: str | None = None
    hints: EndpointHints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPort(WireModel):
    """A port that every endpoint beside it has; matched to the Service's port by name."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice(KubeObject):
    """A part of the endpoints of one Service."""

    kind: ClassVar[str] = "EndpointSlice"
    resource: ClassVar[str] = "endpointslices"
    api_version: ClassVar[str] = "discovery.k8s.io/v1"

    address_type: str = "IPv4"
    endpoints: Many[SliceEndpoint] = ()
    ports: Many[EndpointPort] = ()

    @property
    def service(self) -> ObjectKey | None:
        """The Service this slice belongs to; ``None`` when it is not labelled with one."""
        name = self.metadata.labels.get(_SERVICE_NAME_LABEL)
        return ObjectKey(self.metadata.namespace, name) if name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress(WireModel):
    """One address of an `EndpointSubset`."""

    ip: str
    node_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSubset(WireModel):
    """Addresses that share ports."""

    addresses: Many[EndpointAddress] = ()
    not_ready_addresses: Many[EndpointAddress] = ()
    ports: Many[EndpointPort] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints(KubeObject):
    """The endpoints of the Service of the same name; read only where a Service has no slices."""

    kind: ClassVar[str] = "Endpoints"
    resource: ClassVar[str] = "endpoints"
    api_version: ClassVar[str] = "v1"

    subsets: Many[EndpointSubset] = ()
