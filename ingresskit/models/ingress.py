"""Ingress and IngressClass, as ``networking.k8s.io/v1`` has them.

The two old Ingress forms (``extensions/v1beta1``, ``networking.k8s.io/v1beta1``) are read into
these same classes by `decode`. Nothing here is validated beyond types: the API server is not
trusted to have checked values (objects older than a rule keep what the rule forbids), so the
translator checks them again where it can say what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.models.load_balancer import NO_ADDRESSES, WithLoadBalancer
from ingresskit.models.meta import KubeObject, Many, WireModel

__all__ = [
    "HTTPIngressPath",
    "HTTPIngressRuleValue",
    "Ingress",
    "IngressBackend",
    "IngressClass",
    "IngressClassParameters",
    "IngressClassSpec",
    "IngressRule",
    "IngressServiceBackend",
    "IngressSpec",
    "IngressTLS",
    "ServiceBackendPort",
    "TypedLocalObjectReference",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBackendPort(WireModel):
    """The port of a Service: by ``name`` or by ``number``; exactly one in a valid object."""

    name: str | None = None
    number: int | None = None

    def __str__(self) -> str:
        return self.name or str(self.number or "(no port)")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressServiceBackend(WireModel):
    """A Service of the Ingress's own namespace, and one of its ports."""

    name: str
    port: ServiceBackendPort = ServiceBackendPort()


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLocalObjectReference(WireModel):
    """A reference to some other object of the same namespace."""

    kind: str
    name: str
    api_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressBackend(WireModel):
    """Where requests go: a Service or some other resource; exactly one in a valid object.

    Attributes:
        service_name: What v1beta1 wrote; nothing is served by it. Read here so that its author can be told.
        service_port: The same.
    """

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None
    service_name: str | None = None
    service_port: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPIngressPath(WireModel):
    """One path of a rule. ``path_type`` is free text here; ``None`` only in the old forms."""

    path: str | None = None
    path_type: str | None = None
    backend: IngressBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPIngressRuleValue(WireModel):
    """The paths of a rule, in the order they were written (which decides nothing)."""

    paths: Many[HTTPIngressPath] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressRule(WireModel):
    """A host (``None`` or empty: any) and what is served there (``None``: only the host is claimed)."""

    host: str | None = None
    http: HTTPIngressRuleValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressTLS(WireModel):
    """Hosts and the Secret with their certificate; both may be absent."""

    hosts: Many[str] = ()
    secret_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSpec(WireModel):
    """What an Ingress asks for.

    Attributes:
        backend: What v1beta1 called the default backend; nothing is served by it. Read so that its author
            can be told.
    """

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    backend: IngressBackend | None = None
    tls: Many[IngressTLS] = ()
    rules: Many[IngressRule] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress(KubeObject):
    """An Ingress, whichever of the three API versions it was written in."""

    kind: ClassVar[str] = "Ingress"
    resource: ClassVar[str] = "ingresses"
    api_version: ClassVar[str] = "networking.k8s.io/v1"

    spec: IngressSpec = IngressSpec()
    status: WithLoadBalancer = NO_ADDRESSES


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressClassParameters(WireModel):
    """A reference to an object with settings for a class."""

    kind: str
    name: str
    api_group: str | None = None
    scope: str | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressClassSpec(WireModel):
    """Which controller serves a class."""

    controller: str = ""
    parameters: IngressClassParameters | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressClass(KubeObject):
    """A class of Ingresses; cluster-scoped."""

    kind: ClassVar[str] = "IngressClass"
    resource: ClassVar[str] = "ingressclasses"
    api_version: ClassVar[str] = "networking.k8s.io/v1"
    namespaced: ClassVar[bool] = False

    spec: IngressClassSpec = IngressClassSpec()
