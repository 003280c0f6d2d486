"""Small graphs for the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime

from ingresskit.graph import (
    Action,
    Backend,
    BackendKey,
    Certificate,
    Endpoint,
    Forward,
    PathKind,
    PathMatch,
    Route,
    RouteGraph,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin, PolicySet

WEB = BackendKey("shop", "web", 80)


def forward(key: BackendKey = WEB) -> Forward:
    return Forward(backends=(WeightedBackend(key),))


def origin(name: str, field: str = "spec.rules[0]") -> Origin:
    return Origin(ObjectRef("Ingress", ObjectKey("shop", name)), field)


def route(
    text: str, *, action: Action | None = None, name: str = "", policies: PolicySet | None = None
) -> Route:
    """The route of ``"Prefix /foo"``, asked for by an Ingress with that name."""
    kind, path = text.split(" ")
    match = PathMatch.exact(path) if kind == PathKind.EXACT else PathMatch.prefix(path)
    return Route(
        match=match,
        action=action or forward(),
        origin=origin(name or text.replace(" ", "")),
        policies=policies or PolicySet(),
    )


def host(name: str, *routes: Route | str, tls: bool = False) -> VirtualHost:
    """A virtual host with these routes, sorted as a graph has them."""
    made = [route(item) if isinstance(item, str) else item for item in routes]
    return VirtualHost(host=name, routes=tuple(sorted(made, key=lambda item: item.precedence)), tls=tls)


def backend(key: BackendKey = WEB, *addresses: str, note: str = "") -> Backend:
    return Backend(key=key, endpoints=tuple(Endpoint(address=item, port=8080) for item in addresses), note=note)


def graph(*hosts: VirtualHost, fallthrough: bool = False) -> RouteGraph:
    return RouteGraph(
        virtual_hosts=hosts, backends={WEB: backend(WEB, "10.0.0.1")}, host_fallthrough=fallthrough
    )


def certificate(name: str, *names: str) -> Certificate:
    return Certificate(
        secret=ObjectKey("shop", name),
        chain=b"CHAIN",
        private_key=b"KEY MATERIAL",
        digest="00" * 32,
        names=names,
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2027, 1, 1, tzinfo=UTC),
    )
