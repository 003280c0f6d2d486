"""The state of a cluster, read once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ingresskit.errors import ApiError, NotFound, SourceError, TransportError
from ingresskit.models import ConfigMap, ObjectKey, Snapshot, decode
from ingresskit.translate import TranslateOptions

if TYPE_CHECKING:
    from ingresskit.kube import Transport

__all__ = ["read_cluster"]

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
