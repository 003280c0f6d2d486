"""What goes into ``Ingress.status.loadBalancer``: pure functions from objects of the cluster to addresses.

All give sorted tuples without doubles: IPv4 addresses by number, IPv6 ones, host names. Addresses that the
API server would refuse are left out. Nothing found is an empty tuple, which nobody ever writes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable

from ingresskit.errors import ConfigurationError
from ingresskit.models import LoadBalancerIngress, Node, Pod, Service

__all__ = [
    "Addresses",
    "fixed_addresses",
    "node_addresses",
    "normalized",
    "running_nodes",
    "service_addresses",
]

Addresses = tuple[LoadBalancerIngress, ...]
"""Addresses, sorted, each once."""

# A DNS-1123 subdomain, as the API server wants it in a status.
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
# What looks like an address and is none must not pass as a name.
_NUMERIC = re.compile(r"[0-9.]+")


def fixed_addresses(texts: Iterable[str]) -> Addresses:
    """The addresses that an integrator names.

    Raises:
        ConfigurationError: One is neither an IP address nor a host name, or is an address nobody can be
            reached at: unspecified, multicast, or with a zone.
    """
    found: list[LoadBalancerIngress] = []
    for text in texts:
        address = _address(text.strip())
        if address is None:
            raise ConfigurationError(f"{text!r} is neither an IP address to be reached at nor a host name")
        found.append(address)
    return normalized(found)


def service_addresses(service: Service | None, nodes: Iterable[Node] = ()) -> Addresses:
    """Where a Service is reached from outside.

    Args:
        service: The Service in front of the controller; ``None`` when there is none.
        nodes: Those that take its node ports; used for the type NodePort without external IPs.

    Source: Kubernetes docs, "Service", "Publishing Services (ServiceTypes)" and "External IPs".
    """
    if service is None:
        return ()
    spec = service.spec
    if spec.type == "ExternalName":
        return _valid([spec.external_name or ""])
    texts = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        texts += [item.ip or item.hostname for item in service.status.load_balancer.ingress]
    found = _valid(texts)
    return node_addresses(nodes) if spec.type == "NodePort" and not found else found


def node_addresses(nodes: Iterable[Node], only: Collection[str] | None = None) -> Addresses:
    """Where nodes are reached: the external addresses of each, or its internal ones when it has none.

    Args:
        nodes: Those that are not ready, or about to go, are left out.
        only: The names of the nodes that run us; ``None`` for all.
    """
    texts: list[str] = []
    for node in nodes:
        if not node.is_ready or node.metadata.deletion_timestamp is not None:
            continue
        if only is not None and node.metadata.name not in only:
            continue
        for kind in ("ExternalIP", "ExternalDNS", "InternalIP"):
            own = [item.address for item in node.status.addresses if item.type == kind]
            if own:
                texts += own
                break
    return _valid(texts)


def running_nodes(pods: Iterable[Pod]) -> frozenset[str]:
    """The names of the nodes on which any of *pods* is ready."""
    return frozenset(pod.spec.node_name for pod in pods if pod.spec.node_name and pod.is_ready)


def normalized(addresses: Iterable[LoadBalancerIngress]) -> Addresses:
    """These addresses as `Addresses`; spelling and validity are left as they are."""
    return tuple(sorted(set(addresses), key=_order))


def _valid(texts: Iterable[str]) -> Addresses:
    found = (_address(text) for text in texts)
    return normalized(address for address in found if address is not None)


def _address(text: str) -> LoadBalancerIngress | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        name = text.lower().removesuffix(".")
        if not _HOSTNAME.fullmatch(name) or _NUMERIC.fullmatch(name):
            return None
        return LoadBalancerIngress(hostname=name)
    if ip.is_unspecified or ip.is_multicast or "%" in text:
        return None
    return LoadBalancerIngress(ip=str(ip))


def _order(address: LoadBalancerIngress) -> tuple[int, int, str]:
    try:
        ip = ipaddress.ip_address(address.ip)
    except ValueError:
        return (7, 0, f"{address.ip} {address.hostname}")
    return (ip.version, int(ip), address.hostname)
