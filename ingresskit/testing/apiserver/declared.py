"""The fields of the kinds the server knows, and their types.

One line for each struct of the API. After a field stands its type: ``str``, ``int``, ``bool``, ``time``
(whole seconds), ``micro`` (a time with microseconds), ``bytes`` (base64), ``intstr`` (a number or text),
``any``, another struct, ``[a list]`` or ``{a map}`` from text. Then, how emptiness is written:

* nothing: an empty value is the same as a missing one, and left out; structs are always there;
* ``?`` a pointer: left out when missing, kept when it is empty;
* ``!`` always there, as the zero of its type if need be.

Source: the Go types of ``k8s.io/api`` of Kubernetes 1.36, their JSON tags.
"""

from __future__ import annotations

__all__ = ["KINDS", "STRUCTS"]

STRUCTS = """
ObjectMeta: name=str generateName=str namespace=str selfLink=str uid=str resourceVersion=str generation=int \
    creationTimestamp=time? deletionTimestamp=time? deletionGracePeriodSeconds=int? labels={str} \
    annotations={str} ownerReferences=[OwnerReference] finalizers=[str] managedFields=[ManagedFieldsEntry]
OwnerReference: apiVersion=str! kind=str! name=str! uid=str! controller=bool? blockOwnerDeletion=bool?
ManagedFieldsEntry: manager=str operation=str apiVersion=str time=time? fieldsType=str fieldsV1=any \
    subresource=str
ObjectReference: kind=str namespace=str name=str uid=str apiVersion=str resourceVersion=str fieldPath=str
LocalObjectReference: name=str
Condition: type=str! status=str! observedGeneration=int lastTransitionTime=time! reason=str! message=str!

Namespace: spec=NamespaceSpec status=NamespaceStatus
NamespaceSpec: finalizers=[str]
NamespaceStatus: phase=str conditions=[any]

Service: spec=ServiceSpec status=ServiceStatus
ServiceSpec: ports=[ServicePort] selector={str} clusterIP=str clusterIPs=[str] type=str externalIPs=[str] \
    sessionAffinity=str loadBalancerIP=str loadBalancerSourceRanges=[str] externalName=str \
    externalTrafficPolicy=str healthCheckNodePort=int publishNotReadyAddresses=bool \
    sessionAffinityConfig=SessionAffinityConfig? ipFamilies=[str] ipFamilyPolicy=str? \
    allocateLoadBalancerNodePorts=bool? loadBalancerClass=str? internalTrafficPolicy=str? \
    trafficDistribution=str?
ServicePort: name=str protocol=str appProtocol=str? port=int! targetPort=intstr nodePort=int
SessionAffinityConfig: clientIP=ClientIPConfig?
ClientIPConfig: timeoutSeconds=int?
ServiceStatus: loadBalancer=LoadBalancerStatus conditions=[Condition]
LoadBalancerStatus: ingress=[LoadBalancerIngress]
LoadBalancerIngress: ip=str hostname=str ipMode=str? ports=[PortStatus]
PortStatus: port=int! protocol=str! error=str?

Endpoints: subsets=[EndpointSubset]
EndpointSubset: addresses=[EndpointAddress] notReadyAddresses=[EndpointAddress] ports=[SubsetPort]
EndpointAddress: ip=str! hostname=str nodeName=str? targetRef=ObjectReference?
SubsetPort: name=str port=int! protocol=str appProtocol=str?

Secret: immutable=bool? data={bytes} stringData={str} type=str
ConfigMap: immutable=bool? data={str} binaryData={bytes}
ServiceAccount: secrets=[ObjectReference] imagePullSecrets=[LocalObjectReference] \
    automountServiceAccountToken=bool?

Ingress: spec=IngressSpec status=IngressStatus
IngressSpec: ingressClassName=str? defaultBackend=IngressBackend? tls=[IngressTLS] rules=[IngressRule]
IngressTLS: hosts=[str] secretName=str
IngressRule: host=str http=HTTPIngressRuleValue?
HTTPIngressRuleValue: paths=[HTTPIngressPath]!
HTTPIngressPath: path=str pathType=str? backend=IngressBackend
IngressBackend: service=IngressServiceBackend? resource=TypedLocalObjectReference?
IngressServiceBackend: name=str! port=ServiceBackendPort
ServiceBackendPort: name=str number=int
TypedLocalObjectReference: apiGroup=str? kind=str! name=str!
IngressStatus: loadBalancer=IngressLoadBalancerStatus
IngressLoadBalancerStatus: ingress=[IngressLoadBalancerIngress]
IngressLoadBalancerIngress: ip=str hostname=str ports=[PortStatus]

IngressClass: spec=IngressClassSpec
IngressClassSpec: controller=str parameters=IngressClassParametersReference?
IngressClassParametersReference: apiGroup=str? kind=str! name=str! scope=str? namespace=str?

EndpointSlice: addressType=str! endpoints=[Endpoint]! ports=[EndpointPort]!
Endpoint: addresses=[str]! conditions=EndpointConditions hostname=str? targetRef=ObjectReference? \
    deprecatedTopology={str} nodeName=str? zone=str? hints=EndpointHints?
EndpointConditions: ready=bool? serving=bool? terminating=bool?
EndpointHints: forZones=[Named] forNodes=[Named]
Named: name=str!
EndpointPort: name=str? protocol=str? port=int? appProtocol=str?

Lease: spec=LeaseSpec
LeaseSpec: holderIdentity=str? leaseDurationSeconds=int? acquireTime=micro? renewTime=micro? \
    leaseTransitions=int? strategy=str? preferredHolder=str?

Event: eventTime=micro! series=EventSeries? reportingController=str reportingInstance=str action=str \
    reason=str regarding=ObjectReference related=ObjectReference? note=str type=str \
    deprecatedSource=EventSource deprecatedFirstTimestamp=time! deprecatedLastTimestamp=time! \
    deprecatedCount=int
EventSeries: count=int! lastObservedTime=micro!
EventSource: component=str host=str
CoreEvent: involvedObject=ObjectReference reason=str message=str source=EventSource firstTimestamp=time! \
    lastTimestamp=time! count=int type=str eventTime=micro! series=CoreEventSeries? action=str \
    related=ObjectReference? reportingComponent=str! reportingInstance=str!
CoreEventSeries: count=int lastObservedTime=micro?

Role: rules=[PolicyRule]!
ClusterRole: rules=[PolicyRule]! aggregationRule=any
PolicyRule: verbs=[str]! apiGroups=[str] resources=[str] resourceNames=[str] nonResourceURLs=[str]
Binding: subjects=[Subject] roleRef=RoleRef
Subject: kind=str! apiGroup=str name=str! namespace=str
RoleRef: apiGroup=str! kind=str! name=str!
"""
"""The structs, one a line; a line that ends in a backslash goes on in the next."""

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
}
"""The struct of each kind, by version and kind; what is not here is kept as it is written."""
