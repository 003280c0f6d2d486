"""The reference controller's cluster: as whom it is asked, and what of it is followed."""

from __future__ import annotations

import os

from reference_flags import Flags

from ingresskit import TranslateOptions
from ingresskit.kube import AioTransport, Credentials, InClusterCredentials, KubeconfigCredentials
from ingresskit.models import EndpointSlice, IngressClass, IngressClassSpec, ObjectMeta, Secret, Service
from ingresskit.sources import ClusterSettings, ClusterSource

__all__ = ["credentials", "follow", "reach"]


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


def follow(transport: AioTransport, flags: Flags, options: TranslateOptions) -> ClusterSource:
    """The source that delivers what the flags ask for."""
    assumed = IngressClass(
        metadata=ObjectMeta(name=options.ingress_class),
        spec=IngressClassSpec(controller=options.controller_name),
    )
    source = ClusterSource(
        transport,
        namespaces=flags.watch_namespace,
        namespace_labels=flags.watch_namespace_selector is not None,
        assumed_classes=[assumed],
        options=options,
        settings=ClusterSettings(watch_list=flags.watch_list),
    )
    if (backend := options.default_backend) is not None:
        source.want(Service, backend.service)
        source.want(EndpointSlice, backend.service)
    if options.default_certificate is not None:
        source.want(Secret, options.default_certificate)
    return source
