"""The state of a cluster, read once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio

from ingresskit.app.controller_flags import workload_flags
from ingresskit.errors import ApiError, NotFound, SourceError, TransportError
from ingresskit.migrate import ControllerFlags
from ingresskit.models import ConfigMap, ObjectKey, Snapshot, decode
from ingresskit.translate import TranslateOptions

if TYPE_CHECKING:
    from ingresskit.kube import Transport

__all__ = ["read_cluster", "read_controller_flags"]

_SECONDS = 60.0


async def read_cluster(
    options: TranslateOptions,
    kubeconfig: Path | None,
    context: str,
    *,
    configs: Iterable[ObjectKey] = (),
) -> Snapshot:
    """What a source with *options* first delivers of the cluster.

    Args:
        options: What decides which objects are read.
        kubeconfig: The file; ``None``: $KUBECONFIG, else ``~/.kube/config``.
        context: Its context; empty: its current one.
        configs: ConfigMaps beside those that *options* ask for; one that is not there is left out.

    Raises:
        IngressKitError: There is no usable kubeconfig.
        SourceError: The cluster was not read in a minute.
    """
    # Imported here, as all that is for a cluster: the Kubernetes client takes a while to load.
    from ingresskit.app.cluster import reach
    from ingresskit.kube import KubeconfigCredentials
    from ingresskit.sources import ClusterSource

    access = KubeconfigCredentials(kubeconfig, context=context)
    async with await reach(access) as transport:
        source = ClusterSource(transport, options=options, namespace_labels=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.run)
            with anyio.move_on_after(_SECONDS):
                await source.wait_changed(0)
            tasks.cancel_scope.cancel()
        more = [item for key in configs if (item := await _config_map(transport, key)) is not None]
    snapshot = source.snapshot()
    if snapshot is None:
        raise SourceError(f"the cluster was not read in {_SECONDS:g} seconds")
    if not more:
        return snapshot
    return Snapshot.of([*(item for held in snapshot.objects.values() for item in held.values()), *more])


async def _config_map(transport: Transport, key: ObjectKey) -> ConfigMap | None:
    from ingresskit.kube import ResourceKind

    try:
        path = ResourceKind.of(ConfigMap).path(key.namespace, key.name)
        response = await transport.request("GET", path)
    except NotFound:
        return None
    except (ApiError, TransportError) as exc:
        raise SourceError(f"ConfigMap {key} cannot be read: {exc}") from None
    return decode(ConfigMap, json.loads(response.body))


async def read_controller_flags(kubeconfig: Path | None, context: str) -> ControllerFlags | None:
    """The flags of the first Deployment, else DaemonSet, of the cluster that runs ingress-nginx.

    Args:
        kubeconfig: As `read_cluster`.
        context: As `read_cluster`.

    Returns:
        ``None`` when there is none, or they cannot be listed: the right to it is seldom given.

    Raises:
        IngressKitError: There is no usable kubeconfig.
    """
    from ingresskit.app.cluster import reach
    from ingresskit.kube import KubeconfigCredentials

    access = KubeconfigCredentials(kubeconfig, context=context)
    async with await reach(access) as transport:
        for plural in ("deployments", "daemonsets"):
            try:
                with anyio.fail_after(_SECONDS):
                    response = await transport.request("GET", f"/apis/apps/v1/{plural}")
            except (ApiError, TransportError, TimeoutError):
                continue
            tree = cast("dict[str, object]", json.loads(response.body))
            for item in cast("list[dict[str, object]]", tree.get("items") or []):
                found = workload_flags(item)
                if found is not None:
                    return found
    return None
