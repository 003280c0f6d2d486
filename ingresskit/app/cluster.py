"""The reference controller's cluster: as whom it is asked, and what of it is followed."""

from __future__ import annotations

import os
from pathlib import Path

from ingresskit import HostOwnership, TranslateOptions
from ingresskit.app.flags import Flags
from ingresskit.errors import ApiError, Forbidden, TransportError
from ingresskit.kube import (
    AioTransport,
    Credentials,
    InClusterCredentials,
    KubeconfigCredentials,
    ListOptions,
    ResourceKind,
    Transport,
)
from ingresskit.models import (
    ConfigMap,
    EndpointSlice,
    IngressClass,
    IngressClassSpec,
    Namespace,
    ObjectKey,
    ObjectMeta,
    Secret,
    Service,
)
from ingresskit.sources import ClusterSettings, ClusterSource

__all__ = ["credentials", "follow", "may_read_namespaces", "own_namespace", "reach", "record_of_hosts"]

# Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def credentials(flags: Flags) -> Credentials:
    """Those of the pod this runs in, unless flags or KUBECONFIG name a kubeconfig, or this runs in none."""
    named = flags.kubeconfig is not None or flags.context or os.environ.get("KUBECONFIG")
    if not named and InClusterCredentials.available():
        return InClusterCredentials()
    return KubeconfigCredentials(flags.kubeconfig, context=flags.context)


async def reach(access: Credentials) -> AioTransport:
    """The transport to the cluster. Nothing is asked yet: an API server that is down is no reason to end.

    Raises:
        CredentialsError: There is no usable kubeconfig. (A pod's files may still come.)
    """
    if isinstance(access, KubeconfigCredentials):
        await access.access()
    return AioTransport(access, user_agent="ingresskit-reference-controller")


async def may_read_namespaces(transport: Transport) -> bool:
    """Whether Namespaces may be listed. An API server that does not respond is asked again later."""
    try:
        await transport.list(ResourceKind.of(Namespace), "", ListOptions(limit=1))
    except Forbidden:
        return False
    except (ApiError, TransportError):
        pass
    return True


def record_of_hosts(flags: Flags, options: TranslateOptions) -> ObjectKey | None:
    """Where the record of who holds which host is kept; ``None`` where hosts are shared."""
    if options.host_ownership is HostOwnership.SHARED:
        return None
    return flags.host_claims or ObjectKey(own_namespace(), "ingresskit-hosts")


def own_namespace() -> str:
    """The namespace of the pod this runs in; ``"default"`` outside of one."""
    try:
        return _OWN_NAMESPACE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def follow(transport: AioTransport, flags: Flags, options: TranslateOptions) -> ClusterSource:
    """The source that delivers what the flags ask for."""
    assumed = IngressClass(
        metadata=ObjectMeta(name=options.ingress_class),
        spec=IngressClassSpec(controller=options.controller_name),
    )
    source = ClusterSource(
        transport,
        namespaces=flags.watch_namespace,
        namespace_labels=True,
        require_namespaces=options.require_namespace_hosts,
        host_claims=record_of_hosts(flags, options),
        assumed_classes=[assumed],
        options=options,
        settings=ClusterSettings(watch_list=flags.watch_list),
    )
    if (backend := options.default_backend) is not None:
        source.want(Service, backend.service)
        source.want(EndpointSlice, backend.service)
    for config in (options.tcp_services, options.udp_services):
        if config is not None:
            source.want(ConfigMap, config)
    if options.default_certificate is not None:
        source.want(Secret, options.default_certificate)
    return source
