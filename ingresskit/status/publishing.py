"""Where the addresses to publish come from: named, a Service's, or the nodes', kept up to date by informers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import anyio

from ingresskit.cache import SharedInformer, SharedInformerFactory
from ingresskit.cache.refusals import refusal
from ingresskit.errors import DecodeError
from ingresskit.models import KubeObject, Node, ObjectKey, Pod, Service
from ingresskit.status.addresses import (
    Addresses,
    fixed_addresses,
    node_addresses,
    running_nodes,
    service_addresses,
)

__all__ = ["AddressSource", "FixedAddresses", "NodeAddresses", "ServiceAddresses"]


class AddressSource(Protocol):
    """Knows where we are reached."""

    @property
    def revision(self) -> int:
        """Counts the changes of what the addresses are made of."""
        ...

    def addresses(self) -> Addresses:
        """Where we are reached, as far as is known; empty when it is not, or we are not."""
        ...

    async def wait_changed(self, revision: int) -> None:
        """Return once `revision` is above *revision*."""
        ...


class FixedAddresses:
    """The addresses that an integrator names."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Read them.

        Raises:
            ConfigurationError: One is neither an IP address to be reached at nor a host name.
        """
        self._addresses = fixed_addresses(texts)

    @property
    def revision(self) -> int:
        """Always 0: they never change."""
        return 0

    def addresses(self) -> Addresses:
        """Those that were named."""
        return self._addresses

    async def wait_changed(self, revision: int) -> None:
        """Never returns."""
        await anyio.sleep_forever()


class _Informed:
    """What follows objects by informers. The factory runs them."""

    def __init__(self, *informers: SharedInformer[KubeObject]) -> None:
        self._informers = informers

    @property
    def revision(self) -> int:
        """Counts the changes of what the addresses are made of."""
        return sum(informer.store.revision + informer.has_synced for informer in self._informers)

    def problems(self) -> tuple[DecodeError, ...]:
        """What of it the API server refuses to show, for `ClusterSource.include_problems`."""
        effect = "no address is published, and the status of Ingresses stays as it is"
        found = [
            refusal(reflector, reflector.kind, effect=effect)
            for informer in self._informers
            for reflector in informer.reflectors
        ]
        return tuple(problem for problem in found if problem is not None)

    @property
    def _is_whole(self) -> bool:
        return all(informer.has_synced for informer in self._informers)

    async def wait_changed(self, revision: int) -> None:
        """Return once `revision` is above *revision*."""
        while self.revision <= revision:
            async with anyio.create_task_group() as tasks:

                async def wait(
                    informer: SharedInformer[KubeObject], seen: int | None, scope: anyio.CancelScope
                ) -> None:
                    if seen is None:
                        await informer.wait_for_sync()  # which an empty store does without changing
                    else:
                        await informer.store.wait_changed(seen)
                    scope.cancel()

                for informer in self._informers:
                    seen = informer.store.revision if informer.has_synced else None
                    tasks.start_soon(wait, informer, seen, tasks.cancel_scope)


class ServiceAddresses(_Informed):
    """Where the Service in front of us is reached."""

    def __init__(self, factory: SharedInformerFactory, service: ObjectKey, *, nodes: bool = False) -> None:
        """Follow *service*, which needs ``list`` and ``watch`` on Services of its namespace.

        Args:
            factory: Makes and runs the informers.
            service: The Service that leads to us.
            nodes: Follow the nodes too, for a Service of type NodePort; needs ``list`` and ``watch`` on Nodes.
        """
        self._key = service
        self._service = factory.for_resource(
            Service, namespaces=[service.namespace], field_selector=f"metadata.name={service.name}"
        )
        self._nodes = factory.for_resource(Node) if nodes else None
        super().__init__(*(_plain(it) for it in (self._service, self._nodes) if it is not None))

    def addresses(self) -> Addresses:
        """Its addresses; empty when it is not there or has none."""
        if not self._is_whole:
            return ()
        nodes = () if self._nodes is None else self._nodes.store.list()
        return service_addresses(self._service.store.get(self._key), nodes)


class NodeAddresses(_Informed):
    """Where the nodes are reached, or those of them that run us."""

    def __init__(
        self, factory: SharedInformerFactory, *, pods_namespace: str = "", pods_selector: str = ""
    ) -> None:
        """Follow the nodes, which needs ``list`` and ``watch`` on Nodes.

        Args:
            factory: Makes and runs the informers.
            pods_namespace: Where our pods are.
            pods_selector: Their labels, as kubectl takes them. With it only nodes that run one that is ready
                count; needs ``list`` and ``watch`` on Pods there. Empty for all nodes.
        """
        self._nodes = factory.for_resource(Node)
        self._pods: SharedInformer[Pod] | None = None
        if pods_selector:
            self._pods = factory.for_resource(Pod, namespaces=[pods_namespace], label_selector=pods_selector)
        super().__init__(*(_plain(it) for it in (self._nodes, self._pods) if it is not None))

    def addresses(self) -> Addresses:
        """Their addresses; empty when no node is ready or runs us."""
        if not self._is_whole:
            return ()
        only = None if self._pods is None else running_nodes(self._pods.store.list())
        return node_addresses(self._nodes.store.list(), only)


def _plain(
    informer: SharedInformer[Service] | SharedInformer[Node] | SharedInformer[Pod],
) -> SharedInformer[KubeObject]:
    """The same informer, of which only the revision is read."""
    return cast("SharedInformer[KubeObject]", informer)
