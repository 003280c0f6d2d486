"""Nodes and Pods, as far as they show where a controller is reached.

Neither is among `KINDS`: nothing that is served depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.models.meta import KubeObject, Many, WireModel

__all__ = ["Condition", "Node", "NodeAddress", "NodeStatus", "Pod", "PodSpec", "PodStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition(WireModel):
    """One condition of a status; *status* is ``"True"``, ``"False"`` or ``"Unknown"``."""

    type: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddress(WireModel):
    """An address of a node; *type* is ``"ExternalIP"``, ``"InternalIP"``, ``"Hostname"``, or for DNS names."""

    type: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus(WireModel):
    """What a node's kubelet reports."""

    addresses: Many[NodeAddress] = ()
    conditions: Many[Condition] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(KubeObject):
    """A Node; cluster-scoped."""

    kind: ClassVar[str] = "Node"
    resource: ClassVar[str] = "nodes"
    api_version: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False

    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        """Whether its Ready condition is true."""
        return any(item.type == "Ready" and item.status == "True" for item in self.status.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec(WireModel):
    """Where a pod runs; ``None`` until that is decided."""

    node_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus(WireModel):
    """In which phase a pod is, ``"Running"``."""

    phase: str = ""
    conditions: Many[Condition] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(KubeObject):
    """A Pod."""

    kind: ClassVar[str] = "Pod"
    resource: ClassVar[str] = "pods"
    api_version: ClassVar[str] = "v1"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        """Whether it runs, is ready, and is not about to end."""
        return (
            self.status.phase == "Running"
            and self.metadata.deletion_timestamp is None
            and any(item.type == "Ready" and item.status == "True" for item in self.status.conditions)
        )
