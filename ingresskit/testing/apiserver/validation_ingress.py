"""What the API server lets through as an Ingress or IngressClass, and what it says of the rest.

Source: ``pkg/apis/networking/validation/validation.go`` of Kubernetes 1.36, and its answers; the order of the
causes is its.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of
from ingresskit.testing.apiserver.names import (
    forbidden,
    host_faults,
    invalid,
    is_address,
    label_fault,
    required,
    subdomain_fault,
    unsupported,
)
from ingresskit.testing.apiserver.statuses import Cause

__all__ = ["check_ingress", "check_ingress_class", "check_ingress_status", "port_name_faults"]

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_REFUSED_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_REFUSED_ENDINGS = ("/..", "/.")


def check_ingress(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with an Ingress; *old* is the one before, ``None`` when it is created."""
    spec = mapping_of(manifest.get("spec"))
    annotation = mapping_of(manifest["metadata"].get("annotations")).get(_CLASS_ANNOTATION)
    name = spec.get("ingressClassName")
    if old is None and annotation is not None and name is not None and annotation != name:
        field = f"annotations.{_CLASS_ANNOTATION}"
        yield invalid(field, annotation, "must match `ingressClassName` when both are specified")
    if not spec.get("rules") and not isinstance(spec.get("defaultBackend"), dict):
        yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if isinstance(spec.get("defaultBackend"), dict):
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for place, rule in items_of(spec.get("rules")):
        yield from _rule(rule, f"spec.rules[{place}]")
    for place, tls in items_of(spec.get("tls")):
        yield from _tls(tls, f"spec.tls[{place}]")
    if name is not None and (why := subdomain_fault(str(name))):
        yield invalid("spec.ingressClassName", name, why)


def _rule(rule: Manifest, field: str) -> Iterator[Cause]:
    if host := rule.get("host"):
        yield from host_faults(f"{field}.host", str(host))
    if isinstance(rule.get("http"), dict):
        paths = look(rule, "http", "paths")
        if not paths:
            yield required(f"{field}.http.paths")
        for place, path in items_of(paths):
            yield from _path(path, f"{field}.http.paths[{place}]")


def _path(path: Manifest, field: str) -> Iterator[Cause]:
    kind = path.get("pathType")
    text = str(path.get("path") or "")
    if kind is None:
        yield required(f"{field}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            yield invalid(f"{field}.path", text, "must be an absolute path")
        if text:
            for part in _REFUSED_PARTS:
                if part in text:
                    yield invalid(f"{field}.path", text, f"must not contain '{part}'")
            for ending in _REFUSED_ENDINGS:
                if text.endswith(ending):
                    yield invalid(f"{field}.path", text, f"cannot end with '{ending}'")
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            yield invalid(f"{field}.path", text, "must be an absolute path")
    else:
        yield unsupported(f"{field}.pathType", kind, _PATH_TYPES)
    yield from _backend(mapping_of(path.get("backend")), f"{field}.backend")


def _backend(backend: Manifest, field: str) -> Iterator[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield invalid(field, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _resource(mapping_of(resource), f"{field}.resource")
    elif service is not None:
        yield from _service(mapping_of(service), field)
    else:
        yield invalid(field, "", "resource or service backend is required")


def _resource(resource: Manifest, field: str) -> Iterator[Cause]:
    if (group := resource.get("apiGroup")) and (why := subdomain_fault(str(group))):
        yield invalid(f"{field}.apiGroup", group, why)
    for part in ("kind", "name"):
        if not resource.get(part):
            yield required(f"{field}.{part}")
        elif re.search("[/%]", str(resource[part])) or resource[part] in (".", ".."):
            yield invalid(f"{field}.{part}", resource[part], "may not contain '/' or '%'")


def _service(service: Manifest, field: str) -> Iterator[Cause]:
    name = str(service.get("name") or "")
    if not name:
        yield required(f"{field}.service.name")
    elif why := label_fault(name):
        yield invalid(f"{field}.service.name", name, why)
    port = mapping_of(service.get("port"))
    number, port_name = port.get("number") or 0, port.get("name") or ""
    if number and port_name:
        yield invalid(field, "", "cannot set both port name & port number")
    elif port_name:
        for why in port_name_faults(str(port_name)):
            yield invalid(f"{field}.service.port.name", port_name, why)
    elif number:
        if not 1 <= int(number) <= 65535:
            yield invalid(f"{field}.service.port.number", number, "must be between 1 and 65535, inclusive")
    else:
        yield required(field, "port name or number is required")


def port_name_faults(text: str) -> Iterator[str]:
    """Why *text* is no name of a port (RFC 6335, section 5.1)."""
    if len(text) > 15:
        yield "must be no more than 15 characters"
    if not re.fullmatch("[-a-z0-9]*", text):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", text):
        yield "must contain at least one letter (a-z)"
    if "--" in text:
        yield "must not contain consecutive hyphens"
    if text and (text[0] == "-" or text[-1] == "-"):
        yield "must not begin or end with a hyphen"


def _tls(tls: Manifest, field: str) -> Iterator[Cause]:
    hosts: list[Any] = tls.get("hosts") or []
    for place, host in enumerate(hosts):
        yield from host_faults(f"{field}.hosts[{place}]", str(host), may_be_address=True)
    secret = str(tls.get("secretName") or "")
    if secret and (why := subdomain_fault(secret)):
        yield invalid(f"{field}.secretName", secret, why)


def check_ingress_status(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with the status of an Ingress."""
    for place, entry in items_of(look(manifest, "status", "loadBalancer", "ingress")):
        field = f"status.loadBalancer.ingress[{place}]"
        if (address := entry.get("ip")) and not _is_publishable(str(address)):
            yield invalid(
                f"{field}.ip", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            )
        if host := entry.get("hostname"):
            if is_address(str(host)):
                yield invalid(f"{field}.hostname", host, "must be a DNS name, not an IP address")
            elif why := subdomain_fault(str(host)):
                yield invalid(f"{field}.hostname", host, why)


def _is_publishable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped)


def check_ingress_class(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with an IngressClass."""
    spec = mapping_of(manifest.get("spec"))
    controller = str(spec.get("controller") or "")
    if old is not None and look(old, "spec", "controller") != spec.get("controller"):
        yield invalid("spec.controller", controller, "field is immutable")
        return
    if not controller:
        yield required("spec.controller")
    elif len(controller) > 250:
        yield Cause(
            reason="FieldValueTooLong",
            message="Too long: may not be more than 250 bytes",
            field="spec.controller",
        )
    if controller and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/\S+", controller):
        yield invalid("spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")')
    parameters = spec.get("parameters")
    if not isinstance(parameters, dict):
        return
    yield from _resource(mapping_of(spec["parameters"]), "spec.parameters")
    scope, namespace = look(spec, "parameters", "scope"), look(spec, "parameters", "namespace")
    if scope not in ("Cluster", "Namespace"):
        yield unsupported("spec.parameters.scope", scope, ("Cluster", "Namespace"))
    elif scope == "Namespace" and not namespace:
        yield required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'")
    elif scope == "Namespace" and (why := label_fault(str(namespace))):
        yield invalid("spec.parameters.namespace", namespace, why)
    elif scope == "Cluster" and namespace is not None:
        yield forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'")
