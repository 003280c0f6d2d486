"""What the API server lets through, by kind; what it says of the rest.

Only rules a controller can run into are here. What is *not* modelled is the typing of the real server:
fields nobody knows are kept instead of dropped, and a number where text belongs is stored as it is,
which is how a test feeds a controller objects it cannot decode.

Source: ``pkg/apis/*/validation`` of Kubernetes 1.34.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of
from ingresskit.testing.apiserver.names import (
    check_metadata,
    forbidden,
    invalid,
    is_address,
    label_fault,
    required,
    service_name_fault,
    subdomain_fault,
    unsupported,
)
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.statuses import Cause, StatusError, bad_request
from ingresskit.testing.apiserver.statuses import invalid as invalid_object
from ingresskit.testing.apiserver.validation_ingress import (
    check_ingress,
    check_ingress_class,
    check_ingress_status,
    port_name_faults,
)

__all__ = ["validate"]

_Check = Callable[[Manifest, Manifest | None], Iterator[Cause]]


def validate(resource: Resource, manifest: Manifest, old: Manifest | None, *, status: bool = False) -> None:
    """Let *manifest* pass, which is complete and in the form in which it is kept.

    Args:
        resource: The resource that keeps it.
        manifest: The object.
        old: The one before; ``None`` when it is created.
        status: Whether only the status was written.

    Raises:
        StatusError: 422 with one cause for each fault; 400 for data that is not base64.
    """
    kind = (resource.group, resource.kind)
    metadata = manifest["metadata"]
    name = str(metadata.get("name") or "")
    causes = list(check_metadata(metadata, _NAMES.get(kind, _any_name)(name)))
    if old is not None:
        causes += _check_finalizers(metadata, old["metadata"])
    check = (_STATUSES if status else _KINDS).get(kind)
    if check is not None:
        causes += check(manifest, old)
    if causes:
        raise _refusal(resource, name, causes)


def _refusal(resource: Resource, name: str, causes: list[Cause]) -> StatusError:
    # The real server names events by their core form, whichever way they came in.
    group = "" if resource.kind == "Event" else resource.group
    return invalid_object(group, resource.kind, name, causes)


def _any_name(name: str) -> str:
    return subdomain_fault(name)


def _path_segment(name: str) -> str:
    if name in (".", ".."):
        return f"may not be '{name}'"
    return next((f"may not contain '{part}'" for part in "/%" if part in name), "")


def _check_finalizers(metadata: Manifest, old: Manifest) -> Iterator[Cause]:
    if not old.get("deletionTimestamp"):
        return
    had = cast(list[str], old.get("finalizers") or [])
    added = [item for item in cast(list[str], metadata.get("finalizers") or []) if item not in had]
    if added:
        listed = ", ".join(f'"{item}"' for item in added)
        why = "no new finalizers can be added if the object is being deleted, found new finalizers "
        why += f"[]string{{{listed}}}"
        yield forbidden("metadata.finalizers", why)


def _service(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    spec = mapping_of(manifest.get("spec"))
    kind = spec.get("type")
    ports = list(items_of(spec.get("ports")))
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    seen: set[object] = set()
    for place, port in ports:
        field = f"spec.ports[{place}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{field}.name")
        elif name and (why := label_fault(str(name))):
            yield invalid(f"{field}.name", name, why)
        elif name and name in seen:
            yield Cause(
                reason="FieldValueDuplicate", message=f'Duplicate value: "{name}"', field=f"{field}.name"
            )
        seen.add(name)
        yield from _port(port.get("port"), f"{field}.port")
        if port.get("protocol") not in ("SCTP", "TCP", "UDP"):
            yield unsupported(f"{field}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        target = port.get("targetPort")
        if isinstance(target, int):
            yield from _port(target, f"{field}.targetPort")
        elif target is not None:
            for why in port_name_faults(str(target)):
                yield invalid(f"{field}.targetPort", target, why)
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if kind not in kinds:
        yield unsupported("spec.type", kind, kinds)
    before = look(old, "spec", "clusterIP")
    if before and kind != "ExternalName" and spec.get("clusterIP") != before:
        yield invalid("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set")


def _port(number: object, field: str) -> Iterator[Cause]:
    if not isinstance(number, int) or not 1 <= number <= 65535:
        yield invalid(field, number or 0, "must be between 1 and 65535, inclusive")


def _secret(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    data = mapping_of(manifest.get("data"))
    for value in data.values():
        try:
            base64.b64decode(str(value or ""), validate=True)
        except (binascii.Error, ValueError):
            raise bad_request(
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
            ) from None
    yield from _data_keys(data)
    if manifest.get("type") == "kubernetes.io/tls":
        yield from (required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data)
    if old is not None and manifest.get("type") != old.get("type"):
        yield invalid("type", manifest.get("type"), "field is immutable")
    yield from _immutable(manifest, old, ("data",))


def _config_map(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    data, binary = mapping_of(manifest.get("data")), mapping_of(manifest.get("binaryData"))
    yield from _data_keys(data)
    yield from _data_keys(binary, "binaryData")
    yield from _immutable(manifest, old, ("data", "binaryData"))


def _data_keys(data: Manifest, field: str = "data") -> Iterator[Cause]:
    for key in data:
        if not re.fullmatch("[-._a-zA-Z0-9]+", key):
            yield invalid(
                f"{field}[{key}]",
                key,
                "is not the key of a value, such as key.name (it must match [-._a-zA-Z0-9]+)",
            )


def _immutable(manifest: Manifest, old: Manifest | None, fields: tuple[str, ...]) -> Iterator[Cause]:
    if old is None or not old.get("immutable"):
        return
    for field in ("immutable", *fields):
        if (manifest.get(field) or {}) != (old.get(field) or {}):
            yield forbidden(field, "field is immutable when `immutable` is set")


def _endpoint_slice(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    kind = manifest.get("addressType")
    if old is not None and kind != old.get("addressType"):
        yield invalid("addressType", kind, "field is immutable")
        return
    if not kind:
        yield required("addressType")
    elif kind not in ("FQDN", "IPv4", "IPv6"):
        yield unsupported("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    names: set[object] = set()
    for place, port in items_of(manifest.get("ports")):
        name = port.get("name") or ""
        if name and (why := label_fault(str(name))):
            yield invalid(f"ports[{place}].name", name, why)
        if name in names:
            message = f'Duplicate value: "{name}"'
            yield Cause(reason="FieldValueDuplicate", message=message, field=f"ports[{place}].name")
        names.add(name)
    for place, endpoint in items_of(manifest.get("endpoints")):
        addresses = cast(list[object], endpoint.get("addresses") or [])
        field = f"endpoints[{place}].addresses"
        if not addresses:
            yield required(field, "must contain at least 1 address")
        for at, address in enumerate(addresses):
            if kind in ("IPv4", "IPv6") and not is_address(str(address)):
                yield invalid(
                    f"{field}[{at}]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                )


def _lease(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    spec = mapping_of(manifest.get("spec"))
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if isinstance(seconds, int) and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if isinstance(transitions, int) and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _event(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """The rules for events written as ``events.k8s.io/v1``; the fields have their internal names."""
    if "eventTime" not in manifest and manifest.get("deprecatedFirstTimestamp"):
        return
    about = look(manifest, "regarding", "namespace") or ""
    namespace = manifest["metadata"].get("namespace", "")
    if about != namespace and not (about == "" and namespace in ("default", "kube-system")):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")
    if old is not None:
        for field in (
            "regarding",
            "reason",
            "action",
            "note",
            "reportingController",
            "reportingInstance",
            "type",
        ):
            if manifest.get(field) != old.get(field):
                name = {"regarding": "involvedObject", "note": "message"}.get(field, field)
                yield invalid(name, manifest.get(field), "field is immutable")
        return
    if not manifest.get("eventTime"):
        yield required("eventTime")
    else:
        for field, limit in (
            ("reportingController", 0),
            ("reportingInstance", 128),
            ("action", 128),
            ("reason", 128),
        ):
            value = str(manifest.get(field) or "")
            if not value:
                yield required(field)
            elif limit and len(value) > limit:
                yield invalid(field, "", f"can have at most {limit} characters")
        if len(str(manifest.get("note") or "")) > 1024:
            yield invalid("message", "", "can have at most 1024 characters")
    if manifest.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {manifest.get('type') or ''}")


_NAMES: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("", "Namespace"): label_fault,
    ("", "Service"): service_name_fault,
    ("rbac.authorization.k8s.io", "Role"): _path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRole"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _path_segment,
}

_KINDS: Mapping[tuple[str, str], _Check] = {
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "ConfigMap"): _config_map,
    ("networking.k8s.io", "Ingress"): check_ingress,
    ("networking.k8s.io", "IngressClass"): check_ingress_class,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("coordination.k8s.io", "Lease"): _lease,
    ("events.k8s.io", "Event"): _event,
}

_STATUSES: Mapping[tuple[str, str], _Check] = {
    ("networking.k8s.io", "Ingress"): check_ingress_status,
}
