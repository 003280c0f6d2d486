"""How endpoints are connected to: where, in which version of HTTP, and what becomes of the connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from ingresskit.policies.base import Policy, PolicyScope, annotated
from ingresskit.policies.values import parse_boolean, parse_choice, parse_duration, parse_integer

__all__ = [
    "ConnectionUse",
    "EndpointPreference",
    "HttpVersion",
    "NearBy",
    "ServiceUpstream",
    "UpstreamConnection",
    "UpstreamKeepalive",
]


class ConnectionUse(StrEnum):
    """What a request says of the connection that carries it."""

    KEEP_ALIVE = "keep-alive"
    CLOSE = "close"


class HttpVersion(StrEnum):
    """A version of HTTP/1."""

    HTTP_1_0 = "1.0"
    HTTP_1_1 = "1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUpstream(Policy):
    """Requests go to the address of the Service (``clusterIP``), not to its endpoints.

    Then the cluster chooses the endpoint of each connection: what a proxy does by endpoint (affinity, another
    try elsewhere, the choice of one) has one address to choose from. A Service without an address has its
    endpoints asked all the same.

    Attributes:
        enabled: Whether it is so.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    enabled: bool = annotated(
        "service-upstream",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Send requests to the address of the Service, and not to its endpoints.",
    )


class NearBy(StrEnum):
    """Which endpoints are preferred, by where they run."""

    HINTS = "hints"
    """Those that the control plane means for the zone or node of the proxy."""
    SAME_ZONE = "same-zone"
    """Those of the zone of the proxy, if there is one."""
    SAME_NODE = "same-node"
    """Those of the node of the proxy, if there is one, else those of its zone."""
    ANYWHERE = "anywhere"
    """None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPreference(Policy):
    """Which endpoints get requests, by where they run. Where none is near enough, all do.

    Attributes:
        near: ``hints`` follows the hints of EndpointSlices as kube-proxy does, and where there are none
            ``spec.trafficDistribution`` of the Service; the others leave both aside.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    near: NearBy = annotated(
        "prefer-endpoints",
        parse_choice(NearBy),
        default=NearBy.HINTS,
        grammar="`hints`, `same-zone`, `same-node` or `anywhere`",
        summary="Which endpoints are preferred, by where they and the proxy run.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConnection(Policy):
    """The ``Connection`` field for endpoints in place of the one that the proxy chooses.

    Either value leaves no room for an upgrade, so requests for one (WebSocket) are sent as ordinary requests.

    Attributes:
        use: ``close`` gives each request a connection of its own; ``None``: connections are used again, and
            upgrades pass.
        version: Of HTTP/1, in which endpoints are spoken to. In 1.0 each request has a connection of its own,
            and one whose body does not say its length is refused with 411: 1.0 has no chunks.
    """

    use: ConnectionUse | None = annotated(
        "upstream-connection",
        parse_choice(ConnectionUse),
        default=None,
        grammar="`keep-alive` or `close`",
        summary="Use connections to endpoints again, or never; either way without upgrades such as WebSocket.",
    )
    version: HttpVersion = annotated(
        "upstream-http-version",
        parse_choice(HttpVersion),
        default=HttpVersion.HTTP_1_1,
        grammar="`1.0` or `1.1`",
        summary="The version of HTTP/1 that endpoints are spoken to in.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKeepalive(Policy):
    """How long connections to endpoints are used again. ``None`` leaves it to the proxy's own default.

    Attributes:
        connections: How many idle connections to each endpoint are kept; 0: none is.
        requests: The most requests on one connection; 0: there is no end.
        timeout: How long a connection is kept idle.
        lifetime: No request begins on a connection that is older.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    connections: int | None = annotated(
        "upstream-keepalive-connections",
        parse_integer(0, 10_000),
        default=None,
        grammar="a whole number, 0 to 10000",
        summary="How many idle connections to each endpoint are kept.",
    )
    requests: int = annotated(
        "upstream-keepalive-requests",
        parse_integer(0, 1_000_000_000),
        default=0,
        grammar="a whole number, 0 (no end) to 1000000000",
        summary="The most requests on one connection to an endpoint.",
    )
    timeout: timedelta | None = annotated(
        "upstream-keepalive-timeout",
        parse_duration,
        default=None,
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long a connection to an endpoint is kept idle.",
    )
    lifetime: timedelta | None = annotated(
        "upstream-keepalive-time",
        parse_duration,
        default=None,
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How old a connection to an endpoint may be when a request begins on it.",
    )
