"""Which lists and maps of the known kinds are merged item by item, and by which keys.

The real server reads this from the comments of its Go types (``+listType``, ``+listMapKey``,
``+structType``, ``patchMergeKey``); the table holds the ones a controller for Ingress meets. What is
not named is as the comments' defaults have it: maps are merged key by key, lists are replaced whole.

Source: ``k8s.io/api`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Associative", "Atomic", "Schema", "Set", "Shape", "schema_of"]

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Associative:
    """A list of objects told apart by some of their fields.

    Attributes:
        keys: The fields that tell items apart in server-side apply.
        merge_key: The field that does in strategic merge patches; empty when those replace the list.
        defaults: What a key that is not written counts as.
    """

    keys: tuple[str, ...]
    merge_key: str = ""
    defaults: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A list of plain values, each of which stands for itself."""


@dataclass(frozen=True, slots=True)
class Atomic:
    """A list or a map that has one owner and is replaced as a whole."""


Shape: TypeAlias = Associative | Set | Atomic

Schema: TypeAlias = Mapping[Path, Shape]
"""Shapes by path; ``"*"`` stands for any item of a list."""

_PROTOCOL = {"protocol": "TCP"}
_BY_TYPE = Associative(("type",), "type")

_METADATA: Schema = {
    ("metadata", "finalizers"): Set(),
    ("metadata", "ownerReferences"): Associative(("uid",), "uid"),
}


def _containers(field: str) -> Schema:
    item = ("spec", field, "*")
    return {
        ("spec", field): Associative(("name",), "name"),
        (*item, "env"): Associative(("name",), "name"),
        (*item, "ports"): Associative(("containerPort", "protocol"), "containerPort", _PROTOCOL),
        (*item, "volumeMounts"): Associative(("mountPath",), "mountPath"),
    }


_KINDS: Mapping[tuple[str, str], Schema] = {
    ("", "Service"): {
        ("spec", "ports"): Associative(("port", "protocol"), "port", _PROTOCOL),
        ("spec", "selector"): Atomic(),
        ("spec", "externalIPs"): Atomic(),
        ("status", "conditions"): _BY_TYPE,
        ("status", "loadBalancer", "ingress"): Atomic(),
    },
    ("", "Pod"): {
        **_containers("containers"),
        **_containers("initContainers"),
        ("spec", "nodeSelector"): Atomic(),
        ("spec", "imagePullSecrets"): Associative(("name",), "name"),
        ("spec", "volumes"): Associative(("name",), "name"),
        ("status", "conditions"): _BY_TYPE,
    },
    ("", "Node"): {
        ("spec", "podCIDRs"): Set(),
        ("status", "addresses"): _BY_TYPE,
        ("status", "conditions"): _BY_TYPE,
    },
    ("", "Namespace"): {("status", "conditions"): _BY_TYPE},
    ("", "ServiceAccount"): {("secrets",): Associative(("name",), "name")},
    ("", "Event"): {("involvedObject",): Atomic(), ("related",): Atomic()},
    ("events.k8s.io", "Event"): {("regarding",): Atomic(), ("related",): Atomic()},
    ("networking.k8s.io", "Ingress"): {
        ("spec", "defaultBackend", "resource"): Atomic(),
        ("spec", "defaultBackend", "service", "port"): Atomic(),
    },
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): {("roleRef",): Atomic()},
    ("rbac.authorization.k8s.io", "RoleBinding"): {("roleRef",): Atomic()},
}


def schema_of(group: str, kind: str) -> Schema:
    """The shapes of a kind; those of metadata only for a kind the table does not know."""
    return {**_METADATA, **_KINDS.get((group, kind), {})}
