"""What the reference controller writes into its cluster: status, Events, and who holds which host."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import anyio

from ingresskit import TranslateOptions
from ingresskit.app.cluster import own_namespace, record_of_hosts
from ingresskit.app.flags import Flags
from ingresskit.cache import SharedInformerFactory
from ingresskit.controller import ControllerView, StatusReporter
from ingresskit.controller.claims import ClaimKeeper, HostClaimWriter
from ingresskit.controller.leader import LeaderElector
from ingresskit.kube import Transport
from ingresskit.models import ObjectKey
from ingresskit.sources import ClusterSource
from ingresskit.status import (
    HANDED_OVER,
    AddressSource,
    EventRecorder,
    EventRecorderSettings,
    FixedAddresses,
    Handover,
    NodeAddresses,
    ServiceAddresses,
    StatusWriter,
    StatusWriterSettings,
    fixed_addresses,
)

__all__ = ["ClusterReports"]


class ClusterReports:
    """Writes statuses and Events, while this replica leads. Serving never waits for it."""

    def __init__(
        self,
        transport: Transport,
        flags: Flags,
        options: TranslateOptions,
        *,
        controller: ControllerView,
        source: ClusterSource,
        claims: ClaimKeeper,
    ) -> None:
        self._informers = SharedInformerFactory(transport, watch_list=flags.watch_list)
        lease = flags.leader_election_lease or ObjectKey(own_namespace(), "ingresskit")
        self._elector = (
            None
            if flags.no_leader_election
            else LeaderElector(transport, namespace=lease.namespace, name=lease.name)
        )
        instance = EventRecorderSettings(
            controller=options.controller_name, instance=socket.gethostname()[:128]
        )
        record = record_of_hosts(flags, options)
        addresses = self._addresses(flags)
        self._reporter = StatusReporter(
            controller,
            source=source,
            options=options,
            elector=self._elector,
            writer=StatusWriter(transport, _writing(flags)),
            addresses=addresses,
            events=EventRecorder(transport, instance),
            claims=HostClaimWriter(transport, claims, record) if record is not None else None,
        )
        source.include_problems(self._reporter.problems)
        if isinstance(addresses, ServiceAddresses | NodeAddresses):
            source.include_problems(addresses.problems)

    async def run(self) -> None:
        """Follow what is needed for it, and tell, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._informers.run)
            tasks.start_soon(self._reporter.run)

    def leader(self) -> Mapping[str, object]:
        """Who leads, for ``/api/status``."""
        elector = self._elector
        refused = [str(problem) for problem in self._reporter.problems()]
        if elector is None:
            return {"lease": None, "holder": None, "leading": True, "error": None, "refused": refused}
        return {
            "lease": str(elector.lease),
            "holder": elector.leader or None,
            "leading": elector.is_leader,
            "error": str(elector.trouble) if elector.trouble else None,
            "refused": refused,
        }

    def _addresses(self, flags: Flags) -> AddressSource | None:
        if flags.publish_address:
            return FixedAddresses(flags.publish_address)
        if flags.publish_service is not None:
            # A Service of type NodePort is reached at the nodes.
            nodes = flags.publish_node_addresses
            return ServiceAddresses(self._informers, flags.publish_service, nodes=nodes)
        return NodeAddresses(self._informers) if flags.publish_node_addresses else None


def _writing(flags: Flags) -> StatusWriterSettings:
    old, labels = fixed_addresses(flags.handover_address), flags.handed_over or HANDED_OVER
    handover = Handover(old=old, handed_over=labels) if old else None
    return StatusWriterSettings(taken_from=frozenset(flags.take_status_from), handover=handover)
