"""Telling the cluster what happened: addresses in the status of Ingresses, Events for diagnostics."""

from ingresskit.status.addresses import (
    Addresses,
    fixed_addresses,
    node_addresses,
    normalized,
    running_nodes,
    service_addresses,
)
from ingresskit.status.events import EventRecorder, EventRecorderSettings
from ingresskit.status.fence import Fence, NoFence
from ingresskit.status.handover import HANDED_OVER, Handover
from ingresskit.status.ownership import Ownership, OwnershipJudge, judge_ownership
from ingresskit.status.publishing import AddressSource, FixedAddresses, NodeAddresses, ServiceAddresses
from ingresskit.status.settings import StatusWriterSettings
from ingresskit.status.writer import StatusWriter

__all__ = [
    "HANDED_OVER",
    "AddressSource",
    "Addresses",
    "EventRecorder",
    "EventRecorderSettings",
    "Fence",
    "FixedAddresses",
    "Handover",
    "NoFence",
    "NodeAddresses",
    "Ownership",
    "OwnershipJudge",
    "ServiceAddresses",
    "StatusWriter",
    "StatusWriterSettings",
    "fixed_addresses",
    "judge_ownership",
    "node_addresses",
    "normalized",
    "running_nodes",
    "service_addresses",
]
