"""Ingress and IngressClass in their ``v1beta1`` forms, kept as ``v1``.

Source: ``pkg/apis/networking/v1beta1/conversion.go`` of Kubernetes 1.21, the last with both.
"""

from __future__ import annotations

from collections.abc import Callable

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of

__all__ = ["kept_class", "kept_ingress", "legacy_class", "legacy_ingress"]


def legacy_ingress(ingress: Manifest) -> Manifest:
    """The ``v1beta1`` form of an Ingress kept as ``v1``; it is changed in place and returned."""
    spec = mapping_of(ingress.get("spec"))
    if "defaultBackend" in spec:
        spec["backend"] = _legacy_backend(spec.pop("defaultBackend"))
    _each_path(spec, _legacy_backend)
    return ingress


def kept_ingress(ingress: Manifest) -> Manifest:
    """The ``v1`` form of an Ingress written as ``v1beta1``; it is changed in place and returned.

    A missing path type becomes ImplementationSpecific, as the old defaults had it.
    """
    spec = mapping_of(ingress.get("spec"))
    if "backend" in spec:
        spec["defaultBackend"] = _kept_backend(spec.pop("backend"))
    _each_path(spec, _kept_backend, path_type="ImplementationSpecific")
    return ingress


def legacy_class(ingress_class: Manifest) -> Manifest:
    """The ``v1beta1`` form of an IngressClass: the same."""
    return ingress_class


def kept_class(ingress_class: Manifest) -> Manifest:
    """The ``v1`` form of an IngressClass: the same."""
    return ingress_class


def _each_path(spec: Manifest, convert: Callable[[Manifest], Manifest], path_type: str = "") -> None:
    for _, rule in items_of(spec.get("rules")):
        for _, path in items_of(look(rule, "http", "paths")):
            if "backend" in path:
                path["backend"] = convert(mapping_of(path["backend"]))
            if path_type:
                path.setdefault("pathType", path_type)


def _legacy_backend(backend: Manifest) -> Manifest:
    service = mapping_of(backend.get("service"))
    said: Manifest = {"resource": backend["resource"]} if "resource" in backend else {}
    if service:
        port = mapping_of(service.get("port"))
        said["serviceName"] = service.get("name", "")
        said["servicePort"] = port.get("name") or port.get("number", 0)
    return said


def _kept_backend(backend: Manifest) -> Manifest:
    said: Manifest = {"resource": backend["resource"]} if "resource" in backend else {}
    if "serviceName" in backend or "servicePort" in backend:
        port = backend.get("servicePort", 0)
        said["service"] = {
            "name": backend.get("serviceName", ""),
            "port": {"name": port} if isinstance(port, str) else {"number": port},
        }
    return said
