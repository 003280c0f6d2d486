"""The rules for names, labels and annotations, in the words of the real server.

Source: ``k8s.io/apimachinery/pkg/util/validation/validation.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from ingresskit.testing.apiserver.manifests import Manifest, items_of
from ingresskit.testing.apiserver.statuses import Cause

__all__ = [
    "Faults",
    "check_metadata",
    "forbidden",
    "host_faults",
    "invalid",
    "is_address",
    "label_fault",
    "qualified_faults",
    "quoted",
    "required",
    "subdomain_fault",
    "unsupported",
]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")
_UNQUALIFIED = "name is neither a standard finalizer name nor is it fully qualified"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

Faults = list[Cause]
"""What is wrong with an object, in the order in which the real server says it."""


def quoted(value: object) -> str:
    """A value as messages show it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(quoted(item) for item in cast(list[object], value)) + "]"
    return "null" if value is None else str(value)


def invalid(field: str, value: object, why: str) -> Cause:
    """The value is of the right kind, and wrong."""
    return Cause(reason="FieldValueInvalid", message=f"Invalid value: {quoted(value)}: {why}", field=field)


def required(field: str, why: str = "") -> Cause:
    """The value is missing."""
    return Cause(
        reason="FieldValueRequired", message="Required value" + (f": {why}" if why else ""), field=field
    )


def forbidden(field: str, why: str) -> Cause:
    """The value must not be given."""
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {why}", field=field)


def unsupported(field: str, value: object, supported: tuple[str, ...]) -> Cause:
    """The value is none of a few."""
    known = ", ".join(f'"{item}"' for item in supported)
    message = f"Unsupported value: {quoted(value)}: supported values: {known}"
    return Cause(reason="FieldValueNotSupported", message=message, field=field)


def subdomain_fault(text: str) -> str:
    """Why *text* is no DNS-1123 subdomain; empty when it is one."""
    return _name_fault(text, 253, _SUBDOMAIN, "a lowercase RFC 1123 subdomain, such as example.com")


def label_fault(text: str) -> str:
    """Why *text* is no DNS-1123 label; empty when it is one."""
    return _name_fault(text, 63, _LABEL, "a lowercase RFC 1123 label, such as web-1")


def _wildcard_fault(text: str) -> str:
    what = "a wildcard DNS-1123 subdomain, such as *.example.com"
    return _name_fault(text, 253, rf"\*\.{_SUBDOMAIN}", what)


def _name_fault(text: str, longest: int, pattern: str, what: str) -> str:
    """Why *text* is not *what*, which *pattern* takes whole; empty when it is."""
    if len(text) > longest:
        return f"must be no more than {longest} characters"
    return "" if re.fullmatch(pattern, text) else f"is not {what} (it must match {pattern})"


def is_address(text: str) -> bool:
    """Whether *text* is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_faults(field: str, host: str, *, may_be_address: bool = False) -> Iterator[Cause]:
    """What is wrong with the name of a host, wildcard or not."""
    if is_address(host) and not may_be_address:
        yield invalid(field, host, "must be a DNS name, not an IP address")
    if why := _wildcard_fault(host) if "*" in host else subdomain_fault(host):
        yield invalid(field, host, why)


def qualified_faults(text: str) -> Iterator[str]:
    """Why *text* is no name with an optional prefix, such as ``example.com/my.name``."""
    prefix, slash, name = text.rpartition("/")
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash and (why := subdomain_fault(prefix)):
        yield f"prefix part {why}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:
        yield "name part must be no more than 63 characters"
    if not re.fullmatch(_QUALIFIED, name):
        yield f"name part is no name, such as my.name (it must match {_QUALIFIED})"


def _label_value_fault(text: str) -> str:
    return _name_fault(text, 63, f"({_QUALIFIED})?", "a label value, empty or such as my_value")


def check_metadata(metadata: Manifest, name_fault: Callable[[str], str]) -> Iterator[Cause]:
    """What is wrong with the metadata of any object.

    Args:
        metadata: It.
        name_fault: Says why a name is wrong, by the rule of the kind; empty text when it is right.
    """
    name, prefix = str(metadata.get("name") or ""), str(metadata.get("generateName") or "")
    # Something will follow a prefix, so a dash at its end is no end.
    if prefix and (why := name_fault(f"{prefix[:-1]}a" if prefix.endswith("-") else prefix)):
        yield invalid("metadata.generateName", prefix, why)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif why := name_fault(name):
        yield invalid("metadata.name", name, why)
    for key, value in cast(Mapping[str, object], metadata.get("labels") or {}).items():
        for why in qualified_faults(key):
            yield invalid("metadata.labels", key, why)
        if why := _label_value_fault(str(value)):
            yield invalid("metadata.labels", value, why)
    annotations = cast(Mapping[str, object], metadata.get("annotations") or {})
    for key in annotations:
        for why in qualified_faults(key.lower()):
            yield invalid("metadata.annotations", key, why)
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > 256 * 1024:
        yield Cause(
            reason="FieldValueTooLong",
            message="Too long: may not be more than 262144 bytes",
            field="metadata.annotations",
        )
    for place, finalizer in enumerate(cast(list[str], metadata.get("finalizers") or [])):
        faults = list(qualified_faults(finalizer))
        if not faults and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            yield invalid(f"metadata.finalizers[{place}]", finalizer, _UNQUALIFIED)
        for why in faults:
            yield invalid("metadata.finalizers", finalizer, why)
    for _, owner in items_of(metadata.get("ownerReferences")):
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                yield invalid(f"metadata.ownerReferences.{part}", owner.get(part) or "", "must not be empty")
