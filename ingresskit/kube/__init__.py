"""The only room that imports the Kubernetes client."""

from ingresskit.kube.aio import AioTransport
from ingresskit.kube.credentials import (
    Access,
    Credentials,
    InClusterCredentials,
    StaticCredentials,
    TrustMaterial,
)
from ingresskit.kube.kubeconfig import KubeconfigCredentials
from ingresskit.kube.lines import LineReader
from ingresskit.kube.mapping import status_error
from ingresskit.kube.resources import ListOptions, ResourceKind
from ingresskit.kube.transport import ByteStream, Response, Transport

__all__ = [
    "Access",
    "AioTransport",
    "ByteStream",
    "Credentials",
    "InClusterCredentials",
    "KubeconfigCredentials",
    "LineReader",
    "ListOptions",
    "ResourceKind",
    "Response",
    "StaticCredentials",
    "Transport",
    "TrustMaterial",
    "status_error",
]
