"""What the API server lets through and warns of, in the header ``Warning`` that kubectl prints."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of
from ingresskit.testing.apiserver.registry import Resource

__all__ = ["warnings_of"]

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def warnings_of(resource: Resource, manifest: Manifest, old: Manifest | None) -> Iterator[str]:
    """The warnings about *manifest*; *old* is the object before, ``None`` when it is created."""
    if warn := _KINDS.get((resource.group, resource.kind)):
        yield from warn(manifest, old)


def _ingress(manifest: Manifest, old: Manifest | None) -> Iterator[str]:
    named = look(manifest, "spec", "ingressClassName")
    if old is None and not named and _CLASS_ANNOTATION in mapping_of(manifest["metadata"].get("annotations")):
        yield f"the annotation {_CLASS_ANNOTATION} is deprecated, spec.ingressClassName is in its place"
    if old is None:
        return
    before = [entry for _, entry in items_of(look(old, "status", "loadBalancer", "ingress"))]
    for place, entry in items_of(look(manifest, "status", "loadBalancer", "ingress")):
        text = str(entry.get("ip") or "")
        try:
            usual = str(ipaddress.ip_address(text))
        except ValueError:
            continue
        if usual != text and entry not in before:
            yield f"status.loadBalancer.ingress[{place}]: the usual form of {text} is {usual}"


def _endpoint_slice(manifest: Manifest, old: Manifest | None) -> Iterator[str]:
    if manifest.get("addressType") == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"


def _secret(manifest: Manifest, old: Manifest | None) -> Iterator[str]:
    if manifest.get("type") != "kubernetes.io/tls":
        return
    data = cast(Mapping[str, object], manifest.get("data") or {})
    certificate = base64.b64decode(str(data.get("tls.crt") or ""))
    if b"-----BEGIN " not in certificate:
        yield "tls.crt holds no certificate in PEM form"


_Warn = Callable[[Manifest, Manifest | None], Iterator[str]]

_KINDS: Mapping[tuple[str, str], _Warn] = {
    ("", "Secret"): _secret,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "Ingress"): _ingress,
}
