"""Where something is reached from outside: ``status.loadBalancer`` of Services and Ingresses."""

from __future__ import annotations

from dataclasses import dataclass

from ingresskit.models.meta import Many, WireModel

__all__ = ["NO_ADDRESSES", "LoadBalancerIngress", "LoadBalancerStatus", "WithLoadBalancer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerIngress(WireModel):
    """One address: an IP or a host name; in a valid object exactly one is not empty."""

    ip: str = ""
    hostname: str = ""

    def __str__(self) -> str:
        return self.ip or self.hostname


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerStatus(WireModel):
    """The addresses, in the order they were written."""

    ingress: Many[LoadBalancerIngress] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WithLoadBalancer(WireModel):
    """A ``status`` of which only the addresses are read.

    What stands there was written by controllers, and is compared with what we would write. It is never
    an input for what is served.
    """

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


NO_ADDRESSES = WithLoadBalancer()
"""The status of an object without one."""
