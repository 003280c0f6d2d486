"""What the server fills in when an object is written, by kind.

Source: ``pkg/apis/*/v1/defaults.go`` and the strategies of ``pkg/registry`` of Kubernetes 1.36.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from ingresskit.testing.apiserver.fields import Field, fields_of
from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of
from ingresskit.testing.apiserver.schema import Schema
from ingresskit.testing.apiserver.store import Store

__all__ = ["chosen", "fill_in"]

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_FIRST_NODE_PORT, _LAST_NODE_PORT = 30000, 32767


def fill_in(kind: tuple[str, str], manifest: Manifest, old: Manifest | None, store: Store) -> None:
    """Complete *manifest* in place.

    Args:
        kind: Group and kind.
        manifest: The object, in the form in which it is kept.
        old: The object before; ``None`` when it is created.
        store: Where other objects are, for addresses, ports and the default class.
    """
    if fill := _KINDS.get(kind):
        fill(manifest, old, store)


def chosen(kind: tuple[str, str], manifest: Manifest, schema: Schema) -> frozenset[Field]:
    """The fields of *manifest* whose values the server may have chosen, as opposed to fixed defaults."""
    names = _CHOSEN.get(kind, ())
    fields = fields_of(manifest, schema) if names else ()
    return frozenset(field for field in fields if field[0][1] == "spec" and field[-1][1] in names)


_CHOSEN: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Service"): ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "nodePort"),
    ("", "Namespace"): ("finalizers",),
    ("networking.k8s.io", "Ingress"): ("ingressClassName",),
}


def _namespace(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    manifest["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = manifest["metadata"].get(
        "name", ""
    )
    if old is None:
        manifest["spec"] = {"finalizers": ["kubernetes"]}
        manifest["status"] = {"phase": "Active"}


def _service(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    spec: Manifest = manifest.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for _, port in items_of(spec.get("ports")):
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    manifest.setdefault("status", {"loadBalancer": {}})
    if old is not None and look(old, "spec", "type") != kind:
        _leave_type(spec, mapping_of(old.get("spec")))
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    before = mapping_of((old or {}).get("spec"))
    _service_address(spec, before, store)
    # Headless and without a selector: whoever fills in the endpoints decides what they are.
    any_family = spec["clusterIP"] == "None" and not spec.get("selector")
    spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if any_family else ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if any_family else "SingleStack")
    if kind in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        _node_ports(spec, before, store)
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _leave_type(spec: Manifest, before: Manifest) -> None:
    """Take back what only the former type of a Service had, unless the writer changed it."""
    gone: list[str] = []
    if spec["type"] == "ExternalName":
        gone = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        gone.append("externalTrafficPolicy")
        had = {port.get("nodePort") for _, port in items_of(before.get("ports"))}
        for _, port in items_of(spec.get("ports")):
            if port.get("nodePort") in had:
                port.pop("nodePort", None)
    if spec["type"] != "LoadBalancer":
        gone.append("allocateLoadBalancerNodePorts")
    for name in gone:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)


def _service_address(spec: Manifest, before: Manifest, store: Store) -> None:
    """One address of 10.96.0.0/12 for each Service, kept for its life: no two are made at one revision."""
    if not spec.get("clusterIP"):
        number = store.revision % (1 << 20)
        made = f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        spec["clusterIP"] = before.get("clusterIP") or made
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def _node_ports(spec: Manifest, before: Manifest, store: Store) -> None:
    had = {
        (port.get("port"), port.get("protocol")): port.get("nodePort")
        for _, port in items_of(before.get("ports"))
    }
    used = {
        port.get("nodePort")
        for item in store.items(("", "services"))
        for _, port in items_of(item.manifest["spec"].get("ports"))
    }
    free = (number for number in range(_FIRST_NODE_PORT, _LAST_NODE_PORT + 1) if number not in used)
    for _, port in items_of(spec.get("ports")):
        if not port.get("nodePort"):
            port["nodePort"] = had.get((port.get("port"), port.get("protocol"))) or next(free)


def _ingress(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    manifest.setdefault("status", {"loadBalancer": {}})
    annotations = mapping_of(manifest["metadata"].get("annotations"))
    spec: Manifest = manifest.setdefault("spec", {})
    if old is not None or "ingressClassName" in spec or "kubernetes.io/ingress.class" in annotations:
        return
    classes = [
        item.manifest["metadata"]
        for item in store.items(("networking.k8s.io", "ingressclasses"))
        if look(item.manifest, "metadata", "annotations", _DEFAULT_CLASS) == "true"
    ]
    if classes:
        # The newest, then the first by name: two defaults are no error since 1.25.
        classes.sort(key=lambda metadata: str(metadata["name"]))
        newest = max(str(metadata["creationTimestamp"]) for metadata in classes)
        spec["ingressClassName"] = next(item["name"] for item in classes if item["creationTimestamp"] == newest)


def _ingress_class(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    spec: Manifest = manifest.setdefault("spec", {})
    if isinstance(spec.get("parameters"), dict):
        spec["parameters"].setdefault("scope", "Cluster")


def _secret(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    manifest.setdefault("type", "Opaque")
    plain = mapping_of(manifest.pop("stringData", None))
    if plain:
        data: Manifest = manifest.setdefault("data", {})
        data.update({key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()})


def _endpoint_slice(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    for _, port in items_of(manifest.get("ports")):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    for _, endpoint in items_of(manifest.get("endpoints")):
        endpoint.setdefault("conditions", {})


def _endpoints(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    for _, subset in items_of(manifest.get("subsets")):
        for _, port in items_of(subset.get("ports")):
            port.setdefault("protocol", "TCP")


def _event(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    manifest.setdefault("deprecatedSource", {})
    manifest.setdefault("deprecatedFirstTimestamp", None)
    manifest.setdefault("deprecatedLastTimestamp", None)


def _lease(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    # Fields of an alpha feature, which servers drop.
    for name in ("strategy", "preferredHolder"):
        mapping_of(manifest.get("spec")).pop(name, None)


def _pod(manifest: Manifest, old: Manifest | None, store: Store) -> None:
    spec: Manifest = manifest.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    for _, container in items_of(spec.get("containers")):
        for _, port in items_of(container.get("ports")):
            port.setdefault("protocol", "TCP")
    manifest.setdefault("status", {}).setdefault("phase", "Pending")


_Fill = Callable[[Manifest, Manifest | None, Store], None]

_KINDS: Mapping[tuple[str, str], _Fill] = {
    ("", "Namespace"): _namespace,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "Endpoints"): _endpoints,
    ("", "Pod"): _pod,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("networking.k8s.io", "IngressClass"): _ingress_class,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("events.k8s.io", "Event"): _event,
    ("coordination.k8s.io", "Lease"): _lease,
}
