"""What the API server lets through as a Service or EndpointSlice, and what it says of the rest.

Source: ``pkg/apis/core/validation`` and ``pkg/apis/discovery/validation`` of Kubernetes 1.36, and its answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import cast

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of
from ingresskit.testing.apiserver.names import (
    forbidden,
    invalid,
    label_fault,
    qualified_faults,
    required,
    subdomain_fault,
    unsupported,
)
from ingresskit.testing.apiserver.statuses import Cause
from ingresskit.testing.apiserver.validation_ingress import port_name_faults

__all__ = ["check_endpoint_slice", "check_service", "check_service_status", "check_special_addresses"]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_service(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with a Service; *old* is the one before, ``None`` when it is created."""
    spec = mapping_of(manifest.get("spec"))
    kind = spec.get("type")
    ports = list(items_of(spec.get("ports")))
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if kind == "ExternalName":
        yield from _external(spec)
    yield from _ports(ports, kind)
    for key, value in mapping_of(spec.get("selector")).items():
        for why in (*qualified_faults(key), *qualified_faults(str(value) or "a")):
            yield invalid("spec.selector", key, why)
    if spec.get("sessionAffinity") not in ("ClientIP", "None"):
        yield unsupported("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    if kind != "ExternalName":
        yield from _cluster_addresses(spec)
    for place, text in enumerate(cast(list[object], spec.get("externalIPs") or [])):
        yield from _special(f"spec.externalIPs[{place}]", str(text))
    if kind not in _TYPES:
        yield unsupported("spec.type", kind, _TYPES)
    yield from _traffic(spec, kind)
    yield from _source_ranges(spec, kind)
    before = look(old, "spec", "clusterIP")
    if before and kind != "ExternalName" and spec.get("clusterIP") != before:
        yield invalid("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set")


def _external(spec: Manifest) -> Iterator[Cause]:
    if spec.get("clusterIP"):
        yield forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'")
    name = str(spec.get("externalName") or "")
    if not name:
        yield required("spec.externalName")
    elif why := subdomain_fault(name.removesuffix(".")):
        yield invalid("spec.externalName", name, why)


def _ports(ports: list[tuple[int, Manifest]], kind: object) -> Iterator[Cause]:
    names: set[object] = set()
    numbers: set[object] = set()
    for place, port in ports:
        field = f"spec.ports[{place}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{field}.name")
        elif name and (why := label_fault(str(name))):
            yield invalid(f"{field}.name", name, why)
        elif name and name in names:
            yield _duplicate(f"{field}.name", name)
        names.add(name)
        yield from _port(port.get("port"), f"{field}.port")
        if port.get("protocol") not in _PROTOCOLS:
            yield unsupported(f"{field}.protocol", port.get("protocol"), _PROTOCOLS)
        target = port.get("targetPort")
        if isinstance(target, int):
            yield from _port(target, f"{field}.targetPort")
        elif target is not None:
            for why in port_name_faults(str(target)):
                yield invalid(f"{field}.targetPort", target, why)
        yield from _application(port, field)
        if kind == "ClusterIP" and port.get("nodePort"):
            yield forbidden(f"{field}.nodePort", "may not be used when `type` is 'ClusterIP'")
    for place, port in ports:
        number = (port.get("protocol"), port.get("port"))
        if number in numbers:
            yield _duplicate(f"spec.ports[{place}]", f"{number[1]}/{number[0]}")
        numbers.add(number)


def _port(number: object, field: str) -> Iterator[Cause]:
    if not isinstance(number, int) or not 1 <= number <= 65535:
        yield invalid(field, number or 0, "must be between 1 and 65535, inclusive")


def _application(port: Manifest, field: str) -> Iterator[Cause]:
    if name := port.get("appProtocol"):
        for why in qualified_faults(str(name)):
            yield invalid(f"{field}.appProtocol", name, why)


def _duplicate(field: str, value: object) -> Cause:
    return Cause(reason="FieldValueDuplicate", message=f'Duplicate value: "{value}"', field=field)


def _cluster_addresses(spec: Manifest) -> Iterator[Cause]:
    for place, text in enumerate(cast(list[object], spec.get("clusterIPs") or [])):
        if text != "None" and _read(str(text)) is None:
            yield invalid(f"spec.clusterIPs[{place}]", text, "must be a valid IP address")
        elif isinstance(address := _read(str(text)), ipaddress.IPv4Address) and not _is_private(address):
            yield invalid("spec.clusterIPs", [text], "is not in the range of addresses for services")


def _is_private(address: ipaddress.IPv4Address) -> bool:
    # The server gives addresses of 10.96.0.0/12, and takes any that a cluster might use.
    return address in ipaddress.ip_network("10.0.0.0/8")


def _traffic(spec: Manifest, kind: object) -> Iterator[Cause]:
    outside, inside = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if outside and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        yield invalid(
            "spec.externalTrafficPolicy", outside, "may only be set for externally-accessible services"
        )
    elif outside not in (None, "Cluster", "Local"):
        yield unsupported("spec.externalTrafficPolicy", outside, ("Cluster", "Local"))
    if inside not in (None, "Cluster", "Local"):
        yield unsupported("spec.internalTrafficPolicy", inside, ("Cluster", "Local"))


def _source_ranges(spec: Manifest, kind: object) -> Iterator[Cause]:
    # The name of the field is the real server's, capital letter and all.
    ranges = cast(list[object], spec.get("loadBalancerSourceRanges") or [])
    if ranges and kind != "LoadBalancer":
        yield forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    for place, text in enumerate(ranges):
        try:
            ipaddress.ip_network(str(text).strip(), strict=False)
        except ValueError:
            yield invalid(f"spec.LoadBalancerSourceRanges[{place}]", text, "must be a range like 10.0.0.0/8")


def check_service_status(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with the status of a Service."""
    if look(manifest, "status", "loadBalancer", "ingress") and look(manifest, "spec", "type") != "LoadBalancer":
        yield forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'")


def check_endpoint_slice(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """What is wrong with an EndpointSlice, wherever its endpoints are."""
    kind = manifest.get("addressType")
    if old is not None and kind != old.get("addressType"):
        yield invalid("addressType", kind, "field is immutable")
        return
    if not kind:
        yield required("addressType")
    elif kind not in ("FQDN", "IPv4", "IPv6"):
        yield unsupported("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    names: set[object] = set()
    for place, port in items_of(manifest.get("ports")):
        name, field = port.get("name") or "", f"ports[{place}]"
        if name and (why := label_fault(str(name))):
            yield invalid(f"{field}.name", name, why)
        if name in names:
            yield _duplicate(f"{field}.name", name)
        names.add(name)
        if port.get("protocol") not in _PROTOCOLS:
            yield unsupported(f"{field}.protocol", port.get("protocol"), _PROTOCOLS)
        yield from _application(port, field)
    for place, endpoint in items_of(manifest.get("endpoints")):
        field = f"endpoints[{place}]"
        addresses = cast(list[object], endpoint.get("addresses") or [])
        if not addresses:
            yield required(f"{field}.addresses", "must contain at least 1 address")
        for at, address in enumerate(addresses):
            yield from _endpoint_address(kind, str(address), f"{field}.addresses", at)
        if (name := endpoint.get("hostname")) and (why := label_fault(str(name))):
            yield invalid(f"{field}.hostname", name, why)
        if (name := endpoint.get("nodeName")) and (why := subdomain_fault(str(name))):
            yield invalid(f"{field}.nodeName", name, why)


def _endpoint_address(kind: object, text: str, field: str, place: int) -> Iterator[Cause]:
    address = _read(text)
    if kind == "FQDN":
        if why := subdomain_fault(text.removesuffix(".")):
            yield invalid(f"{field}[{place}]", text, why)
    elif kind in ("IPv4", "IPv6") and address is None:
        yield invalid(
            f"{field}[{place}]", text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        )
    elif address is not None and kind in ("IPv4", "IPv6") and _family(address) != kind:
        yield invalid(field, text, f"must be an {kind} address")


def _family(address: _Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return "IPv4" if address.version == 4 and mapped is None else "IPv6"


def check_special_addresses(manifest: Manifest, old: Manifest | None) -> Iterator[Cause]:
    """Which endpoints of an EndpointSlice are where no pod of a cluster can be; those it had are let be."""
    if manifest.get("addressType") == "FQDN":
        return
    had = {
        address
        for _, endpoint in items_of((old or {}).get("endpoints"))
        for address in cast(list[object], endpoint.get("addresses") or [])
    }
    for place, endpoint in items_of(manifest.get("endpoints")):
        for at, text in enumerate(cast(list[object], endpoint.get("addresses") or [])):
            address = _read(str(text))
            if address is not None and text not in had and _family(address) == manifest.get("addressType"):
                yield from _special(f"endpoints[{place}].addresses[{at}]", str(text))


def _special(field: str, text: str) -> Iterator[Cause]:
    address = _read(text)
    if address is None:
        yield invalid(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
        return
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    kinds = {
        "unspecified": address.is_unspecified,
        "loopback": address.is_loopback,
        "link-local": address.is_link_local,
        "link-local multicast": address.is_multicast and (address.version == 6 or text.startswith("224.0.0.")),
        "IPv4-mapped": mapped,
    }
    for name, there in kinds.items():
        if there:
            yield invalid(field, text, f"may not be {name}")


def _read(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
