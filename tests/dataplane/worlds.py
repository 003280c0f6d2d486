"""Numbered states of one small cluster: each differs from the others in routes, endpoints and certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from ingresskit.models import KubeObject
from ingresskit.testing import ingress, ingress_class, service, tls_secret
from ingresskit.translate import DestinationPolicy, TranslateOptions
from tests.dataplane.stage import slices

OPTIONS = TranslateOptions(destinations=DestinationPolicy(allow=(ipaddress.ip_network("127.0.0.0/8"),)))
STEADY = "steady.test"
POISON = "poison.test"


def numbered(state: int) -> str:
    """The host that only this state serves."""
    return f"number-{state}.test"


def poison() -> list[KubeObject]:
    """Objects of a host of which something in the artifact can be spoiled, whatever that is made of."""
    return [
        ingress("poison", {POISON: {"/": "steady"}}, created=2, tls={"poison-tls": [POISON]}),
        tls_secret(POISON, name="poison-tls"),
    ]


def world(state: int, ports: Sequence[int], more: Mapping[str, str] | None = None) -> list[KubeObject]:
    """State *state*; `STEADY` is served in all of them.

    Args:
        ports: Endpoints on this machine, two at least.
        more: Annotations of the Ingress of the host that only this state serves.
    """
    other = f"number-{state}"
    timeouts = {"tls-redirect": "false", "read-timeout": f"{30 + state % 60}s"}
    return [
        ingress_class(),
        ingress("steady", {STEADY: {"/": "steady"}}, tls={"tls": [STEADY]}, annotations=timeouts),
        ingress(other, {numbered(state): {"/": other}}, created=1, annotations=more),
        service("steady"),
        service(other),
        *slices("steady", [ports[state % 2]]),
        *slices(other, [ports[(state + 1) % 2]]),
        tls_secret(STEADY, salt=str(state)),
    ]
