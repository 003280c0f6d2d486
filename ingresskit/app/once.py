"""The state of a cluster, read once."""

from __future__ import annotations

from pathlib import Path

import anyio

from ingresskit.errors import SourceError
from ingresskit.models import Snapshot
from ingresskit.translate import TranslateOptions

__all__ = ["read_cluster"]

_SECONDS = 60.0


async def read_cluster(options: TranslateOptions, kubeconfig: Path | None, context: str) -> Snapshot:
    """What a source with *options* first delivers of the cluster.

    Args:
        options: What decides which objects are read.
        kubeconfig: The file; ``None``: $KUBECONFIG, else ``~/.kube/config``.
        context: Its context; empty: its current one.

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
    snapshot = source.snapshot()
    if snapshot is None:
        raise SourceError(f"the cluster was not read in {_SECONDS:g} seconds")
    return snapshot
