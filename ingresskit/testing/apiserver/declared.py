"""The fields of the kinds the server knows, and their types.

One line for each struct of the API. After the name of a field stands its number in protobuf (two, if it is in
a message of its own there), and then its type: ``str``, ``int``, ``bool``, ``time``
(whole seconds), ``micro`` (a time with microseconds), ``bytes`` (base64), ``intstr`` (a number or text),
``any``, another struct, ``[a list]`` or ``{a map}`` from text. Then, how emptiness is written:

* nothing: an empty value is the same as a missing one, and left out; structs are always there;
* ``?`` a pointer: left out when missing, kept when it is empty;
* ``!`` always there, as the zero of its type if need be.

Source: the Go types of ``k8s.io/api`` of Kubernetes 1.36, their JSON tags, and its ``generated.proto``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["KINDS", "METADATA", "Declared", "ListOf", "MapOf", "One", "Struct", "Type", "structs"]


@dataclass(frozen=True, slots=True)
class One:
    """One value: of a struct, or of a plain type, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list."""

    of: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from text."""

    of: Type


Type: TypeAlias = One | ListOf | MapOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One field of a struct.

    Attributes:
        type: What it holds.
        empty: How emptiness is written: left out, left out unless it is given, or never left out.
        numbers: Its number in protobuf; two for a field in a message that JSON does not show.
    """

    type: Type
    empty: Literal["omit", "pointer", "always"]
    numbers: tuple[int, ...]


METADATA = Declared(type=One("ObjectMeta"), empty="omit", numbers=(1,))
"""What every object has besides the fields of its kind."""

Struct: TypeAlias = Mapping[str, Declared]
"""The fields of a struct, by name."""


@functools.cache
def structs() -> Mapping[str, Struct]:
    """All structs, by name."""
    found: dict[str, Struct] = {}
    for line in _STRUCTS.splitlines():
        name, colon, fields = line.partition(":")
        if colon:
            found[name] = dict(_declared(text) for text in fields.split())
    return found


def _declared(text: str) -> tuple[str, Declared]:
    head, _, kind = text.partition("=")
    name, _, numbers = head.partition(":")
    empty: Literal["omit", "pointer", "always"] = "omit"
    if kind[-1] in "?!":
        empty = "pointer" if kind.endswith("?") else "always"
    return name, Declared(
        type=_type(kind.rstrip("?!")), empty=empty, numbers=tuple(int(it) for it in numbers.split("."))
    )


def _type(text: str) -> Type:
    if text.startswith("["):
        return ListOf(_type(text[1:-1]))
    return MapOf(_type(text[1:-1])) if text.startswith("{") else One(text)


_STRUCTS = """
ObjectMeta: name:1=str generateName:2=str namespace:3=str selfLink:4=str uid:5=str resourceVersion:6=str \
    generation:7=int creationTimestamp:8=time? deletionTimestamp:9=time? deletionGracePeriodSeconds:10=int? \
    labels:11={str} annotations:12={str} ownerReferences:13=[OwnerReference] finalizers:14=[str] \
    managedFields:17=[ManagedFieldsEntry]
OwnerReference: apiVersion:5=str! kind:1=str! name:3=str! uid:4=str! controller:6=bool? \
    blockOwnerDeletion:7=bool?
ManagedFieldsEntry: manager:1=str operation:2=str apiVersion:3=str time:4=time? fieldsType:6=str \
    fieldsV1:7=any subresource:8=str
ObjectReference: kind:1=str namespace:2=str name:3=str uid:4=str apiVersion:5=str resourceVersion:6=str \
    fieldPath:7=str
LocalObjectReference: name:1=str
Condition: type:1=str! status:2=str! observedGeneration:3=int lastTransitionTime:4=time! reason:5=str! \
    message:6=str!

Namespace: spec:2=NamespaceSpec status:3=NamespaceStatus
NamespaceSpec: finalizers:1=[str]
NamespaceStatus: phase:1=str conditions:2=[any]

Service: spec:2=ServiceSpec status:3=ServiceStatus
ServiceSpec: ports:1=[ServicePort] selector:2={str} clusterIP:3=str clusterIPs:18=[str] type:4=str \
    externalIPs:5=[str] sessionAffinity:7=str loadBalancerIP:8=str loadBalancerSourceRanges:9=[str] \
    externalName:10=str externalTrafficPolicy:11=str healthCheckNodePort:12=int \
    publishNotReadyAddresses:13=bool sessionAffinityConfig:14=SessionAffinityConfig? ipFamilies:19=[str] \
    ipFamilyPolicy:17=str? allocateLoadBalancerNodePorts:20=bool? loadBalancerClass:21=str? \
    internalTrafficPolicy:22=str? trafficDistribution:23=str?
ServicePort: name:1=str protocol:2=str appProtocol:6=str? port:3=int! targetPort:4=intstr nodePort:5=int
SessionAffinityConfig: clientIP:1=ClientIPConfig?
ClientIPConfig: timeoutSeconds:1=int?
ServiceStatus: loadBalancer:1=LoadBalancerStatus conditions:2=[Condition]
LoadBalancerStatus: ingress:1=[LoadBalancerIngress]
LoadBalancerIngress: ip:1=str hostname:2=str ipMode:3=str? ports:4=[PortStatus]
PortStatus: port:1=int! protocol:2=str! error:3=str?

Endpoints: subsets:2=[EndpointSubset]
EndpointSubset: addresses:1=[EndpointAddress] notReadyAddresses:2=[EndpointAddress] ports:3=[SubsetPort]
EndpointAddress: ip:1=str! hostname:3=str nodeName:4=str? targetRef:2=ObjectReference?
SubsetPort: name:1=str port:2=int! protocol:3=str appProtocol:4=str?

Secret: immutable:5=bool? data:2={bytes} stringData:4={str} type:3=str
ConfigMap: immutable:4=bool? data:2={str} binaryData:3={bytes}
ServiceAccount: secrets:2=[ObjectReference] imagePullSecrets:3=[LocalObjectReference] \
    automountServiceAccountToken:4=bool?

Ingress: spec:2=IngressSpec status:3=IngressStatus
IngressSpec: ingressClassName:4=str? defaultBackend:1=IngressBackend? tls:2=[IngressTLS] \
    rules:3=[IngressRule]
IngressTLS: hosts:1=[str] secretName:2=str
IngressRule: host:1=str http:2.1=HTTPIngressRuleValue?
HTTPIngressRuleValue: paths:1=[HTTPIngressPath]!
HTTPIngressPath: path:1=str pathType:3=str? backend:2=IngressBackend
IngressBackend: service:4=IngressServiceBackend? resource:3=TypedLocalObjectReference?
IngressServiceBackend: name:1=str! port:2=ServiceBackendPort
ServiceBackendPort: name:1=str number:2=int
TypedLocalObjectReference: apiGroup:1=str? kind:2=str! name:3=str!
IngressStatus: loadBalancer:1=IngressLoadBalancerStatus
IngressLoadBalancerStatus: ingress:1=[IngressLoadBalancerIngress]
IngressLoadBalancerIngress: ip:1=str hostname:2=str ports:4=[PortStatus]

IngressClass: spec:2=IngressClassSpec
IngressClassSpec: controller:1=str parameters:2=IngressClassParametersReference?
IngressClassParametersReference: apiGroup:1=str? kind:2=str! name:3=str! scope:4=str? namespace:5=str?

EndpointSlice: addressType:4=str! endpoints:2=[Endpoint]! ports:3=[EndpointPort]!
Endpoint: addresses:1=[str]! conditions:2=EndpointConditions hostname:3=str? targetRef:4=ObjectReference? \
    deprecatedTopology:5={str} nodeName:6=str? zone:7=str? hints:8=EndpointHints?
EndpointConditions: ready:1=bool? serving:2=bool? terminating:3=bool?
EndpointHints: forZones:1=[Named] forNodes:2=[Named]
Named: name:1=str!
EndpointPort: name:1=str? protocol:2=str? port:3=int? appProtocol:4=str?

Lease: spec:2=LeaseSpec
LeaseSpec: holderIdentity:1=str? leaseDurationSeconds:2=int? acquireTime:3=micro? renewTime:4=micro? \
    leaseTransitions:5=int? strategy:6=str? preferredHolder:7=str?

Event: eventTime:2=micro! series:3=EventSeries? reportingController:4=str reportingInstance:5=str \
    action:6=str reason:7=str regarding:8=ObjectReference related:9=ObjectReference? note:10=str type:11=str \
    deprecatedSource:12=EventSource deprecatedFirstTimestamp:13=time! deprecatedLastTimestamp:14=time! \
    deprecatedCount:15=int
EventSeries: count:1=int! lastObservedTime:2=micro!
EventSource: component:1=str host:2=str
CoreEvent: involvedObject:2=ObjectReference reason:3=str message:4=str source:5=EventSource \
    firstTimestamp:6=time! lastTimestamp:7=time! count:8=int type:9=str eventTime:10=micro! \
    series:11=CoreEventSeries? action:12=str related:13=ObjectReference? reportingComponent:14=str! \
    reportingInstance:15=str!
CoreEventSeries: count:1=int lastObservedTime:2=micro?

Role: rules:2=[PolicyRule]!
ClusterRole: rules:2=[PolicyRule]! aggregationRule:3=any
PolicyRule: verbs:1=[str]! apiGroups:2=[str] resources:3=[str] resourceNames:4=[str] nonResourceURLs:5=[str]
Binding: subjects:2=[Subject] roleRef:3=RoleRef
Subject: kind:1=str! apiGroup:2=str name:3=str! namespace:4=str
RoleRef: apiGroup:1=str! kind:2=str! name:3=str!

SelfSubjectAccessReview: spec:2=AccessReviewSpec
AccessReviewSpec: resourceAttributes:1=ResourceAttributes? nonResourceAttributes:2=NonResourceAttributes?
ResourceAttributes: namespace:1=str verb:2=str group:3=str version:4=str resource:5=str subresource:6=str \
    name:7=str
NonResourceAttributes: path:1=str verb:2=str
SelfSubjectRulesReview: spec:2=RulesReviewSpec
RulesReviewSpec: namespace:1=str
SelfSubjectReview:
DeleteOptions: gracePeriodSeconds:1=int? preconditions:2=Preconditions? orphanDependents:3=bool? \
    propagationPolicy:4=str? dryRun:5=[str]
Preconditions: uid:1=str? resourceVersion:2=str?
"""

_RBAC = "rbac.authorization.k8s.io/v1"

KINDS = {
    ("v1", "Namespace"): "Namespace",
    ("v1", "Service"): "Service",
    ("v1", "Endpoints"): "Endpoints",
    ("v1", "Secret"): "Secret",
    ("v1", "ConfigMap"): "ConfigMap",
    ("v1", "ServiceAccount"): "ServiceAccount",
    ("v1", "Event"): "CoreEvent",
    ("events.k8s.io/v1", "Event"): "Event",
    ("networking.k8s.io/v1", "Ingress"): "Ingress",
    ("networking.k8s.io/v1", "IngressClass"): "IngressClass",
    ("discovery.k8s.io/v1", "EndpointSlice"): "EndpointSlice",
    ("coordination.k8s.io/v1", "Lease"): "Lease",
    (_RBAC, "Role"): "Role",
    (_RBAC, "ClusterRole"): "ClusterRole",
    (_RBAC, "RoleBinding"): "Binding",
    (_RBAC, "ClusterRoleBinding"): "Binding",
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): "SelfSubjectAccessReview",
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): "SelfSubjectRulesReview",
    ("authentication.k8s.io/v1", "SelfSubjectReview"): "SelfSubjectReview",
    ("v1", "DeleteOptions"): "DeleteOptions",
}
"""The struct of each kind, by version and kind; what is not here is kept as it is written."""
