"""What the API server lets through, by kind; what it says of the rest.

Only rules a controller can run into are here. Types of fields are checked elsewhere, see `typed`.

Source: ``pkg/apis/*/validation`` of Kubernetes 1.36, and its answers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from ingresskit.testing.apiserver.manifests import Manifest, look, mapping_of
from ingresskit.testing.apiserver.names import (
    check_metadata,
    forbidden,
    invalid,
    label_fault,
    qualified_faults,
    required,
    subdomain_fault,
)
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.statuses import Cause, StatusError, bad_request
from ingresskit.testing.apiserver.statuses import invalid as invalid_object
from ingresskit.testing.apiserver.validation_ingress import (
    check_ingress,
    check_ingress_class,
    check_ingress_status,
)
from ingresskit.testing.apiserver.validation_services import (
    check_endpoint_slice,
    check_service,
    check_service_status,
    check_special_addresses,
)

__all__ = ["validate"]

_Check = Callable[[Manifest, Manifest | None], Iterator[Cause]]


def validate(
    resource: Resource,
    manifest: Manifest,
    old: Manifest | None,
    *,
    status: bool = False,
    strict: bool = True,
) -> None:
    """Let *manifest* pass, which is complete and in the form in which it is kept.

    Args:
        resource: The resource that keeps it.
        manifest: The object.
        old: The one before; ``None`` when it is created.
        status: Whether only the status was written.
        strict: Also refuse what tests need that have no cluster: endpoints on loopback.

    Raises:
        StatusError: 422 with one cause for each fault; 400 for data that is not base64.
    """
    kind = (resource.group, resource.kind)
    metadata = manifest["metadata"]
    name = str(metadata.get("name") or "")
    causes = list(check_metadata(metadata, _NAMES.get(kind, subdomain_fault)))
    if old is not None:
        causes += _check_finalizers(metadata, old["metadata"])
    check = (_STATUSES if status else _KINDS).get(kind)
    if check is not None:
        causes += check(manifest, old)
    if strict and not status and (check := _STRICT.get(kind)) is not None:
        causes += check(manifest, old)
    if causes:
        raise _refusal(resource, name, causes)


def _refusal(resource: Resource, name: str, causes: list[Cause]) -> StatusError:
    # The real server names events by their core form, whichever way they came in.
    group = "" if resource.kind == "Event" else resource.group
    return invalid_object(group, resource.kind, name, causes)


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
        # The real server checks it twice, and says so twice.
        yield from [forbidden("metadata.finalizers", why)] * 2


_SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


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
    for key in _SECRET_KEYS.get(str(manifest.get("type")), ()):
        if key not in data:
            yield required(f"data[{key}]")
    if manifest.get("type") == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        try:
            json.loads(base64.b64decode(str(data[".dockerconfigjson"])))
        except ValueError:
            yield invalid("data[.dockerconfigjson]", "<secret contents redacted>", "is not JSON")
    if manifest.get("type") == "kubernetes.io/service-account-token":
        annotation = "kubernetes.io/service-account.name"
        if not look(manifest, "metadata", "annotations", annotation):
            yield required(f"metadata.annotations[{annotation}]")
    if old is not None and manifest.get("type") != old.get("type"):
        yield invalid("type", manifest.get("type"), "field is immutable")
    if manifest.get("type") == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield from (required(f"data[{key}]") for key in ("username", "password"))
    yield from _immutable(manifest, old, ("data",))


def _config_map(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    data, binary = mapping_of(manifest.get("data")), mapping_of(manifest.get("binaryData"))
    yield from _data_keys(data)
    yield from _data_keys(binary, "binaryData")
    for key in data.keys() & binary.keys():
        yield invalid(f"data[{key}]", key, "is a key of binaryData too")
    yield from _immutable(manifest, old, ("data", "binaryData"))


def _data_keys(data: Manifest, field: str = "data") -> Iterator[Cause]:
    for key in data:
        if key in (".", "..") or key.startswith(".."):
            yield invalid(f"{field}[{key}]", key, "may neither be '.' nor begin with '..'")
        elif not re.fullmatch("[-._a-zA-Z0-9]+", key):
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


def _lease(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    spec = mapping_of(manifest.get("spec"))
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if isinstance(seconds, int) and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if isinstance(transitions, int) and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _event(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """The rules for events written as ``events.k8s.io/v1``; the fields have their internal names."""
    about = look(manifest, "regarding", "namespace") or ""
    namespace = manifest["metadata"].get("namespace", "")
    if not manifest.get("eventTime") and manifest.get("deprecatedFirstTimestamp"):
        if about != namespace and (about, namespace) != ("", "default"):
            yield invalid("involvedObject.namespace", about, "does not match event.namespace")
        return
    if not about and namespace not in ("default", "kube-system"):
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
        yield from _series(manifest)
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
            if field == "reportingController":
                for why in qualified_faults(value):
                    yield invalid(field, value, why)
            elif limit and len(value) > limit:
                yield invalid(field, "", f"can have at most {limit} characters")
        if len(str(manifest.get("note") or "")) > 1024:
            yield invalid("message", "", "can have at most 1024 characters")
    if manifest.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {manifest.get('type') or ''}")
    yield from _series(manifest)


def _series(manifest: Manifest) -> Iterator[Cause]:
    series = manifest.get("series")
    if not isinstance(series, dict):
        return
    if not isinstance(count := look(manifest, "series", "count"), int) or count < 2:
        yield invalid("series.count", "", "should be at least 2")
    if not look(manifest, "series", "lastObservedTime"):
        yield required("series.lastObservedTime")


_NAMES: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("", "Namespace"): label_fault,
    ("", "Service"): label_fault,
    ("rbac.authorization.k8s.io", "Role"): _path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRole"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _path_segment,
}

_KINDS: Mapping[tuple[str, str], _Check] = {
    ("", "Service"): check_service,
    ("", "Secret"): _secret,
    ("", "ConfigMap"): _config_map,
    ("networking.k8s.io", "Ingress"): check_ingress,
    ("networking.k8s.io", "IngressClass"): check_ingress_class,
    ("discovery.k8s.io", "EndpointSlice"): check_endpoint_slice,
    ("coordination.k8s.io", "Lease"): _lease,
    ("events.k8s.io", "Event"): _event,
}

_STRICT: Mapping[tuple[str, str], _Check] = {
    ("discovery.k8s.io", "EndpointSlice"): check_special_addresses,
}

_STATUSES: Mapping[tuple[str, str], _Check] = {
    ("", "Service"): check_service_status,
    ("networking.k8s.io", "Ingress"): check_ingress_status,
}
