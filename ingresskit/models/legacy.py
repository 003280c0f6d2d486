"""The Ingress forms of ``extensions/v1beta1`` and ``networking.k8s.io/v1beta1``, read into `Ingress`.

Source: Kubernetes deprecation guide, v1.22, "Ingress": ``spec.backend`` became
``spec.defaultBackend``, ``serviceName``/``servicePort`` became ``service.name`` and
``service.port.number``/``.name``, and ``pathType`` did not exist or could be left out, in which
case the path was ImplementationSpecific.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ingresskit.models.ingress import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
    TypedLocalObjectReference,
)
from ingresskit.models.load_balancer import NO_ADDRESSES, WithLoadBalancer
from ingresskit.models.meta import KubeObject, Many, StringMap, WireModel
from ingresskit.models.service import EndpointConditions, EndpointPort, EndpointSlice, SliceEndpoint

__all__ = ["LegacyEndpointSlice", "LegacyIngress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyBackend(WireModel):
    """``serviceName`` with ``servicePort`` (a number or a name), or a resource."""

    service_name: str | None = None
    service_port: int | str | None = None
    resource: TypedLocalObjectReference | None = None

    def modern(self) -> IngressBackend:
        """The same backend as v1 writes it."""
        if not self.service_name:
            return IngressBackend(resource=self.resource)
        port = self.service_port
        # The old API took "80" for a number too: IntOrString text of digits could never be a port name.
        # More than these are no port either, and Python reads no number of thousands of digits.
        if isinstance(port, str) and re.fullmatch(r"[0-9]{1,9}", port):
            port = int(port)
        reference = (
            ServiceBackendPort(name=port) if isinstance(port, str) else ServiceBackendPort(number=port or None)
        )
        return IngressBackend(
            service=IngressServiceBackend(name=self.service_name, port=reference), resource=self.resource
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyPath(WireModel):
    """One path of an old rule."""

    path: str | None = None
    path_type: str | None = None
    backend: LegacyBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRuleValue(WireModel):
    """The paths of an old rule."""

    paths: Many[LegacyPath] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRule(WireModel):
    """A host of an old Ingress."""

    host: str | None = None
    http: LegacyRuleValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySpec(WireModel):
    """What an old Ingress asks for."""

    ingress_class_name: str | None = None
    backend: LegacyBackend | None = None
    tls: Many[IngressTLS] = ()
    rules: Many[LegacyRule] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyIngress(KubeObject):
    """An Ingress as one of the two old API groups wrote it."""

    kind: ClassVar[str] = "Ingress"
    resource: ClassVar[str] = "ingresses"
    api_version: ClassVar[str] = "networking.k8s.io/v1beta1"

    spec: LegacySpec = LegacySpec()
    status: WithLoadBalancer = NO_ADDRESSES

    def modern(self) -> Ingress:
        """The same Ingress in the v1 form. A path type that was left out becomes ImplementationSpecific."""
        spec = self.spec
        return Ingress(
            metadata=self.metadata,
            spec=IngressSpec(
                ingress_class_name=spec.ingress_class_name,
                default_backend=spec.backend.modern() if spec.backend else None,
                tls=spec.tls,
                rules=tuple(_modern_rule(rule) for rule in spec.rules),
            ),
            status=self.status,
        )


def _modern_rule(rule: LegacyRule) -> IngressRule:
    if rule.http is None:
        return IngressRule(host=rule.host)
    paths = tuple(
        HTTPIngressPath(
            path=path.path, path_type=path.path_type or "ImplementationSpecific", backend=path.backend.modern()
        )
        for path in rule.http.paths
    )
    return IngressRule(host=rule.host, http=HTTPIngressRuleValue(paths=paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySliceEndpoint(WireModel):
    """An endpoint of ``discovery.k8s.io/v1beta1``, which kept the zone in a topology map."""

    addresses: Many[str] = ()
    conditions: EndpointConditions | None = None
    topology: StringMap | None = None
    node_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyEndpointSlice(KubeObject):
    """An EndpointSlice of ``discovery.k8s.io/v1beta1``."""

    kind: ClassVar[str] = "EndpointSlice"
    resource: ClassVar[str] = "endpointslices"
    api_version: ClassVar[str] = "discovery.k8s.io/v1beta1"

    address_type: str = "IPv4"
    endpoints: Many[LegacySliceEndpoint] = ()
    ports: Many[EndpointPort] = ()

    def modern(self) -> EndpointSlice:
        """The same slice in the v1 form."""
        endpoints = tuple(
            SliceEndpoint(
                addresses=endpoint.addresses,
                conditions=endpoint.conditions,
                zone=(endpoint.topology or {}).get("topology.kubernetes.io/zone"),
                node_name=endpoint.node_name,
            )
            for endpoint in self.endpoints
        )
        return EndpointSlice(
            metadata=self.metadata, address_type=self.address_type, endpoints=endpoints, ports=self.ports
        )
