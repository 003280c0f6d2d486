"""Which issuer creates the Secrets that an Ingress names, where an annotation asks for it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["promise_of"]

_TLS_ACME = "kubernetes.io/tls-acme"
_ISSUERS = (
    "cert-manager.io/issuer",
    "cert-manager.io/cluster-issuer",
    "certmanager.k8s.io/issuer",
    "certmanager.k8s.io/cluster-issuer",
    "cert.gardener.cloud/purpose",
)


def promise_of(annotations: Mapping[str, str]) -> str:
    """Who creates the Secrets of an Ingress, by an annotation that asks for it; empty when there is none.

    Source: cert-manager, "Annotated Ingress resource": the issuers, and the annotation of kube-lego.
    """
    for key in _ISSUERS:
        if annotations.get(key):
            return f"{'Gardener' if 'gardener' in key else 'cert-manager'} ({key})"
    return f"cert-manager ({_TLS_ACME})" if annotations.get(_TLS_ACME, "").lower() == "true" else ""
