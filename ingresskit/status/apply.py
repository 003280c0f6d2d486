"""The two requests that change the status of an Ingress."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from ingresskit.errors import NotFound, TransportError
from ingresskit.kube import ResourceKind, Response, Transport
from ingresskit.models import Ingress, LoadBalancerIngress

__all__ = ["StatusApply"]

_INGRESSES = ResourceKind.of(Ingress)
_APPLY = {"Content-Type": "application/apply-patch+yaml"}  # JSON is YAML


class StatusApply:
    """Server-side apply on ``/status``; by force only where the caller says so.

    Source: Kubernetes docs, "Server-Side Apply"; the list of addresses is atomic, so it has one value that
    all its owners agree on.
    """

    def __init__(self, transport: Transport, field_manager: str) -> None:
        self._transport = transport
        self._field_manager = field_manager

    async def write(
        self, item: Ingress, addresses: Sequence[LoadBalancerIngress], *, force: bool = False
    ) -> str:
        """Make *addresses* the status of *item*, with *force* also where another field manager owns it.

        Returns:
            The resource version it has since.

        Raises:
            ValueError: There are no addresses: nothing of this program ever clears a status by writing it.
            Conflict: Another field manager owns the status, or it is another object by now.
            NotFound: It is gone.
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        if not addresses:
            raise ValueError("a status without addresses is not written")
        entries = [{"ip": it.ip} if it.ip else {"hostname": it.hostname} for it in addresses]
        return await self._apply(item, {"status": {"loadBalancer": {"ingress": entries}}}, force=force)

    async def withdraw(self, item: Ingress) -> str | None:
        """Take back what this field manager owns of the status of *item*, and nothing else.

        Returns:
            The resource version it has since, or ``None`` when nothing was ours.

        Raises:
            As `write`.
        """
        try:
            response = await self._transport.request("GET", self._path(item, ""))
        except NotFound:
            return None
        metadata = _map(_tree(response).get("metadata"))
        if metadata.get("uid", item.metadata.uid) != item.metadata.uid or not self._owns(metadata):
            return None
        # An applier owns what it applies: applying nothing gives up the rest.
        return await self._apply(item, {})

    async def _apply(self, item: Ingress, wanted: Mapping[str, object], *, force: bool = False) -> str:
        meta = item.metadata
        identity = {"name": meta.name, "namespace": meta.namespace, **({"uid": meta.uid} if meta.uid else {})}
        tree = {"apiVersion": item.api_version, "kind": item.kind, "metadata": identity, **wanted}
        response = await self._transport.request(
            "PATCH",
            self._path(item, "status"),
            query=[("fieldManager", self._field_manager), ("force", "true" if force else "false")],
            headers=_APPLY,
            body=json.dumps(tree, separators=(",", ":")).encode(),
        )
        version = _map(_tree(response).get("metadata")).get("resourceVersion")
        return version if isinstance(version, str) else ""

    def _owns(self, metadata: Mapping[str, object]) -> bool:
        managed = metadata.get("managedFields")
        entries = cast("list[object]", managed) if isinstance(managed, list) else []
        return any(
            (entry.get("manager"), entry.get("operation"), entry.get("subresource"))
            == (self._field_manager, "Apply", "status")
            for entry in map(_map, entries)
        )

    @staticmethod
    def _path(item: Ingress, subresource: str) -> str:
        return _INGRESSES.path(item.key.namespace, item.key.name, subresource)


def _tree(response: Response) -> Mapping[str, object]:
    try:
        return _map(json.loads(response.body))
    except ValueError as exc:
        raise TransportError(f"the response for an Ingress is not JSON: {exc}") from exc


def _map(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
