"""Writes the record of host claims into the cluster, while this replica leads.

A term begins with a list of what the former leader left, which `ClaimKeeper` takes over. After the next
pass, and then after each change, the ConfigMaps whose text differs are written: new ones first, then
changed ones, then those no longer needed are deleted, so that each host is in at least one of them at any
time. Each write is conditional on the version that was seen. Who wrote in between, by hand or late, is
overwritten: the record of the leader counts.

Nothing waits for it: hosts are live before they are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

import anyio
import anyio.to_thread

from ingresskit.cache import Backoff
from ingresskit.cache.versions import is_older
from ingresskit.controller.claims.keeper import ClaimKeeper
from ingresskit.controller.claims.record import (
    RECORD_KEY,
    RECORD_LABEL,
    check_record_key,
    is_shard,
    read_record,
    write_record,
)
from ingresskit.controller.claims.settings import HostClaimSettings
from ingresskit.errors import ApiError, Conflict, DecodeError, Forbidden, NotFound, ProblemCause, TransportError
from ingresskit.facts import fact_logger
from ingresskit.kube import ListOptions, ResourceKind, Response, Transport
from ingresskit.models import ConfigMap, ObjectKey, decode
from ingresskit.status import Fence

__all__ = ["HostClaimWriter"]

_logger = fact_logger(__name__)

_CONFIG_MAPS = ResourceKind.of(ConfigMap)


class HostClaimWriter:
    """Keeps the ConfigMaps of a record equal to the record of a `ClaimKeeper`."""

    def __init__(
        self,
        transport: Transport,
        keeper: ClaimKeeper,
        key: ObjectKey,
        settings: HostClaimSettings | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: To which cluster.
            keeper: The one that the controller was given.
            key: The namespace and name of the record, as the keeper has it.
            settings: How often to write; the defaults when ``None``.

        Raises:
            ConfigurationError: No ConfigMap of a record can have that name.
        """
        check_record_key(key)
        self._transport = transport
        self._keeper = keeper
        self._key = key
        self._settings = settings or HostClaimSettings()
        self._backoff = Backoff(initial=self._settings.retry_first, ceiling=self._settings.retry_ceiling)
        # What there is, as far as is known.
        self._held: dict[str, ConfigMap] = {}
        self._failing = False
        self._revision = -1

    async def run(self, fence: Fence) -> None:
        """Write until *fence* is closed, or this is cancelled. Troubles of the API server end nothing."""
        try:
            while fence.is_valid():
                try:
                    await self._take_over(fence)
                    while fence.is_valid():
                        await self._write(fence)
                        self._succeeded()
                        await self._wait_for_change()
                except (ApiError, TransportError, TimeoutError, DecodeError) as exc:
                    self._report(exc)
                    least = exc.retry_after if isinstance(exc, ApiError) else None
                    await anyio.sleep(self._backoff.pause(at_least=least).total_seconds())
        finally:
            self._keeper.follow()

    async def _wait_for_change(self) -> None:
        pause = self._settings.interval - self._settings.quiet
        await anyio.sleep(max(0.0, pause.total_seconds()))
        with anyio.move_on_after(self._settings.look_again.total_seconds()):
            await self._keeper.wait_changed(self._revision)
        await anyio.sleep(self._settings.quiet.total_seconds())

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._keeper.report(None)
        if self._failing:
            self._failing = False
            _logger.info("the record of hosts is written again", extra={"record": str(self._key)})

    def _report(self, error: Exception) -> None:
        if isinstance(error, Conflict):
            return  # written by somebody else in between: read again, and overwritten
        if not self._failing:
            self._failing = True
            _logger.warning(
                "the record of hosts is not written, trying again",
                extra={"record": str(self._key), "reason": type(error).__name__},
            )
        if isinstance(error, DecodeError):
            self._keeper.report(error)
            return
        if not self._keeper.settled or not isinstance(error, ApiError) or error.status >= 500:
            return  # what cannot be read, its source reports; and a server that is away comes back
        what = f"it cannot be written ({error})"
        if isinstance(error, Forbidden | NotFound):
            what = (
                f"the right to create and update configmaps in the namespace {self._key.namespace} is missing"
            )
        effect = "who holds a host is kept in memory only, and after a restart the oldest claim decides"
        self._keeper.report(
            DecodeError(
                kind=ConfigMap.kind,
                namespace=self._key.namespace,
                name=self._key.name,
                field="",
                reason=f"{what}; {effect}",
                cause=ProblemCause.WRITE_REFUSED,
            )
        )

    async def _take_over(self, fence: Fence) -> None:
        """Read what there is, have it taken over once, and wait for the pass that is made with it."""
        options = ListOptions(label_selector=f"{RECORD_LABEL}={self._key.name}")
        with anyio.fail_after(self._limit(fence)):
            response = await self._transport.list(_CONFIG_MAPS, self._key.namespace, options)
        found = (decode(ConfigMap, item) for item in _items(response))
        self._held = {item.metadata.name: item for item in found if is_shard(item, self._key)}
        if not self._keeper.settled:
            self._keeper.lead(read_record(self._held.values()).claims)
            while not self._keeper.settled:
                await self._keeper.wait_changed(self._keeper.revision)

    async def _write(self, fence: Fence) -> None:
        """Write what differs. One ConfigMap that is refused keeps no other from being written."""
        self._revision = self._keeper.revision  # what changes meanwhile is written next time
        await self._look(fence)
        claims, present = self._keeper.claims, len(self._held)
        if not len(claims) and not present:
            return
        wanted = await anyio.to_thread.run_sync(write_record, claims, self._key, present)
        changed = [name for name, text in wanted.items() if self._text(name) != text]
        counts = {"created": 0, "updated": 0, "deleted": 0}
        refused: list[ApiError | DecodeError] = []
        for name in sorted(changed, key=lambda name: name in self._held):  # new ones first
            what = "updated" if name in self._held else "created"
            try:
                await self._put(name, wanted[name], fence)
            except Forbidden:
                raise
            except (ApiError, DecodeError) as exc:
                refused.append(exc)
            else:
                counts[what] += 1
        if refused:
            raise refused[0]
        for name in sorted(self._held.keys() - wanted.keys()):
            counts["deleted"] += 1
            await self._delete(name, fence)
        if any(counts.values()):
            facts = {"record": str(self._key), "hosts": len(claims), **counts}
            _logger.debug("record of hosts written", extra=facts)

    async def _look(self, fence: Fence) -> None:
        """Take note of what others did to the ConfigMaps, as far as the snapshots show it."""
        seen = {
            item.metadata.name: item for item in self._keeper.config_maps.values() if is_shard(item, self._key)
        }
        for name, item in seen.items():
            held = self._held.get(name)
            if held is None or not is_older(item.metadata.resource_version, held.metadata.resource_version):
                self._held[name] = item
        for name in self._held.keys() - seen.keys():  # deleted, or not shown yet: nothing else tells
            try:
                await self._read_again(name, fence)
            except NotFound:
                del self._held[name]

    def _text(self, name: str) -> str | None:
        held = self._held.get(name)
        return None if held is None else held.data.get(RECORD_KEY)

    async def _put(self, name: str, text: str, fence: Fence) -> None:
        held = self._held.get(name)
        metadata: dict[str, object] = {
            "name": name,
            "namespace": self._key.namespace,
            "labels": {RECORD_LABEL: self._key.name},
        }
        if held is not None:
            metadata["resourceVersion"] = held.metadata.resource_version
        tree = {"apiVersion": "v1", "kind": ConfigMap.kind, "metadata": metadata, "data": {RECORD_KEY: text}}
        method, path = "PUT", _CONFIG_MAPS.path(self._key.namespace, name)
        if held is None:
            method, path = "POST", _CONFIG_MAPS.path(self._key.namespace)
        try:
            response = await self._request(method, path, fence, json.dumps(tree).encode())
        except NotFound:
            self._held.pop(name, None)  # deleted in between: made again next time
            raise
        except Conflict:
            await self._read_again(name, fence)
            raise
        self._held[name] = decode(ConfigMap, response.body)

    async def _read_again(self, name: str, fence: Fence) -> None:
        """The ConfigMap as another writer left it; one that is not of a record is left alone."""
        response = await self._request("GET", _CONFIG_MAPS.path(self._key.namespace, name), fence)
        item = decode(ConfigMap, response.body)
        if not is_shard(item, self._key) and set(item.data) - {RECORD_KEY}:
            key = item.key
            reason = f"it has other data and no label {RECORD_LABEL}={self._key.name}, so it is left alone"
            raise DecodeError(
                kind=item.kind,
                namespace=key.namespace,
                name=key.name,
                field="metadata.labels",
                reason=reason,
                cause=ProblemCause.WRITE_REFUSED,
            )
        self._held[name] = item

    async def _delete(self, name: str, fence: Fence) -> None:
        with suppress(NotFound):  # somebody was quicker
            await self._request("DELETE", _CONFIG_MAPS.path(self._key.namespace, name), fence)
        self._held.pop(name, None)

    async def _request(self, method: str, path: str, fence: Fence, body: bytes = b"") -> Response:
        if not fence.is_valid():
            raise TimeoutError
        with anyio.fail_after(self._limit(fence)):
            return await self._transport.request(method, path, body=body)

    def _limit(self, fence: Fence) -> float:
        return min(self._settings.request_timeout.total_seconds(), fence.remaining())


def _items(response: Response) -> list[Mapping[str, object]]:
    try:
        tree: object = json.loads(response.body)
    except ValueError as exc:
        raise TransportError(f"the response for a list of ConfigMaps is not JSON: {exc}") from exc
    items: object = cast("dict[str, object]", tree).get("items") if isinstance(tree, dict) else None
    return cast("list[Mapping[str, object]]", items) if isinstance(items, list) else []
