"""The resources the embedded server has from the start."""

from __future__ import annotations

from ingresskit.testing.apiserver.events import core_event, kept_event
from ingresskit.testing.apiserver.legacy import kept_class, kept_ingress, legacy_class, legacy_ingress
from ingresskit.testing.apiserver.registry import Resource, View

__all__ = ["BUILTIN", "LEGACY"]

_NAME_FIELDS = ((("spec", "nodeName"), ""), (("status", "phase"), ""), (("status", "podIP"), ""))
_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_RBAC = "rbac.authorization.k8s.io"

_CORE: tuple[Resource, ...] = (
    Resource(
        group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False,
        short_names=("ns",), has_status=True, fields=((("status", "phase"), ""),),
    ),
    Resource(
        group="", version="v1", plural="services", kind="Service", short_names=("svc",), categories=("all",),
        has_status=True, returns_deleted=True,
        fields=((("spec", "clusterIP"), ""), (("spec", "type"), "")),
    ),
    Resource(
        group="", version="v1", plural="endpoints", kind="Endpoints", short_names=("ep",),
        creates_on_update=True, deprecated="Endpoints are deprecated since 1.33, use EndpointSlices",
    ),
    Resource(
        group="", version="v1", plural="secrets", kind="Secret", fields=((("type",), ""),)
    ),
    Resource(group="", version="v1", plural="configmaps", kind="ConfigMap", short_names=("cm",)),
    Resource(
        group="", version="v1", plural="nodes", kind="Node", namespaced=False, short_names=("no",),
        has_status=True, fields=((("spec", "unschedulable"), "false"),),
    ),
    Resource(
        group="", version="v1", plural="pods", kind="Pod", short_names=("po",), categories=("all",),
        has_status=True, has_generation=True, returns_deleted=True,
        fields=(*_NAME_FIELDS, (("spec", "restartPolicy"), ""), (("spec", "serviceAccountName"), "")),
    ),
    Resource(
        group="", version="v1", plural="serviceaccounts", kind="ServiceAccount", short_names=("sa",),
        returns_deleted=True,
    ),
    Resource(
        group="", version="v1", plural="events", kind="Event", short_names=("ev",), creates_on_update=True,
        fields=(
            *((("involvedObject", name), "") for name in _OBJECT),
            (("reason",), ""), (("reportingComponent",), ""), (("source",), ""), (("type",), ""),
        ),
        view=View(of=("events.k8s.io", "events"), show=core_event, keep=kept_event),
    ),
)  # fmt: skip

_GROUPS: tuple[Resource, ...] = (
    Resource(
        group="networking.k8s.io", version="v1", plural="ingresses", kind="Ingress", short_names=("ing",),
        has_status=True, has_generation=True,
    ),
    Resource(
        group="networking.k8s.io", version="v1", plural="ingressclasses", kind="IngressClass",
        singular="ingressclass", namespaced=False, has_generation=True,
    ),
    Resource(
        group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice",
        has_generation=True,
    ),
    Resource(
        group="coordination.k8s.io", version="v1", plural="leases", kind="Lease", creates_on_update=True,
        needs_version=True,
    ),
    Resource(
        group="events.k8s.io", version="v1", plural="events", kind="Event", short_names=("ev",),
        creates_on_update=True,
        fields=(
            *((("regarding", name), "") for name in _OBJECT),
            (("reason",), ""), (("reportingController",), ""), (("type",), ""),
        ),
    ),
    Resource(group=_RBAC, version="v1", plural="roles", kind="Role", creates_on_update=True),
    Resource(group=_RBAC, version="v1", plural="rolebindings", kind="RoleBinding", creates_on_update=True),
    Resource(
        group=_RBAC, version="v1", plural="clusterroles", kind="ClusterRole", namespaced=False,
        creates_on_update=True,
    ),
    Resource(
        group=_RBAC, version="v1", plural="clusterrolebindings", kind="ClusterRoleBinding", namespaced=False,
        creates_on_update=True,
    ),
)  # fmt: skip

BUILTIN = _CORE + _GROUPS
"""What a current cluster has of what a controller for Ingress meets."""

_INGRESS = View(of=("networking.k8s.io", "ingresses"), show=legacy_ingress, keep=kept_ingress)

LEGACY: tuple[Resource, ...] = (
    Resource(
        group="extensions", version="v1beta1", plural="ingresses", kind="Ingress", short_names=("ing",),
        has_status=True, has_generation=True, view=_INGRESS,
    ),
    Resource(
        group="networking.k8s.io", version="v1beta1", plural="ingresses", kind="Ingress", short_names=("ing",),
        has_status=True, has_generation=True, view=_INGRESS,
    ),
    Resource(
        group="networking.k8s.io", version="v1beta1", plural="ingressclasses", kind="IngressClass",
        singular="ingressclass", namespaced=False, has_generation=True,
        view=View(of=("networking.k8s.io", "ingressclasses"), show=legacy_class, keep=kept_class),
    ),
)  # fmt: skip
"""Old forms of Ingress, as clusters before 1.22 had them: the same objects, seen in another form."""
