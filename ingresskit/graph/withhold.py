"""The graph without what some objects ask for: what is served while a proxy cannot take them.

A proxy's own checker may refuse what a translator let through. Then the object at fault keeps what it
had, or responds 503, or is left out, in this order, and no other object is affected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import IntEnum
from typing import NamedTuple

from ingresskit.diagnostics import Reason
from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.nodes import (
    Backend,
    BackendKey,
    Certificate,
    Close,
    Forward,
    Respond,
    Route,
    RouteKey,
    StreamRoute,
    VirtualHost,
)
from ingresskit.models import ObjectKey, ObjectRef, Secret
from ingresskit.policies import Policy, PolicySet

__all__ = ["ObjectParts", "Withholding", "parts_by_object", "withhold"]


class Withholding(IntEnum):
    """How much of an object is kept from a proxy; each takes more than the one before."""

    CHANGE = 1
    """What it asked for when it was last served is served; where it never was, as `CONTENT`. So is a path
    that it wants protected in a way that it was not."""
    CONTENT = 2
    """Its paths stay its own and respond 503."""
    EVERYTHING = 3
    """Its paths are left out, and with the last of them the host. Another rule may take their requests."""


ObjectParts = tuple[tuple[str, Route], ...] | Certificate
"""What one object asks for: its routes with their hosts, in the order of the graph; or its certificate."""


def parts_by_object(graph: RouteGraph) -> dict[ObjectRef, ObjectParts]:
    """For each object that routes or certificates come from, what it contributes to *graph*."""
    routes: dict[ObjectRef, list[tuple[str, Route]]] = {}
    for host in graph.virtual_hosts:
        for route in host.routes:
            routes.setdefault(route.origin.subject, []).append((host.host, route))
    found: dict[ObjectRef, ObjectParts] = {subject: tuple(items) for subject, items in routes.items()}
    found.update((ObjectRef(Secret.kind, key), item) for key, item in graph.certificates.items())
    return found


def withhold(
    graph: RouteGraph, measures: Mapping[ObjectRef, Withholding], served: RouteGraph | None = None
) -> RouteGraph:
    """*graph*, in which the objects of *measures* are kept from the proxy as far as they say.

    Args:
        graph: What should be served.
        measures: The objects, Ingresses and TLS Secrets, and how much of each is kept back.
        served: What is served now, which `Withholding.CHANGE` goes back to.

    Returns:
        The graph; itself when it has nothing of these objects. What is not theirs is the same in it.
    """
    if not measures:
        return graph
    before = _by_host(served, measures) if served is not None else {}
    protection = _Protection(graph, served)
    reduced = (
        (host, _host(host, measures, before.pop(host.host, {}), protection)) for host in graph.virtual_hosts
    )
    hosts = [new for old, new in reduced if new.routes or not old.routes]
    # Hosts that an object had and has given up in the very version that is kept back.
    if before and served is not None:
        given_up = ((served.virtual_host(name), routes) for name, routes in before.items())
        hosts += [replace(host, routes=_ordered(routes.values())) for host, routes in given_up if host]
        hosts.sort(key=_place)
    backends = _backends(hosts, graph, served)
    certificates = _certificates(graph, measures, served)
    unchanged = (
        len(hosts) == len(graph.virtual_hosts)
        and all(new is old for new, old in zip(hosts, graph.virtual_hosts, strict=True))
        and certificates == graph.certificates
    )
    if unchanged:
        return graph
    default = graph.default_certificate
    return replace(
        graph,
        virtual_hosts=tuple(hosts),
        backends=backends,
        certificates=certificates,
        server_names={
            name: key if key is None or key in certificates else None
            for name, key in graph.server_names.items()
        },
        default_certificate=default if default in certificates else None,
    )


Routes = dict[RouteKey, Route]


def _by_host(served: RouteGraph, measures: Mapping[ObjectRef, Withholding]) -> dict[str, Routes]:
    """The routes that the objects whose change is kept back have now, by host and match."""
    found: dict[str, Routes] = {}
    for host in served.virtual_hosts:
        for route in host.routes:
            if measures.get(route.origin.subject) is Withholding.CHANGE:
                found.setdefault(host.host, {})[route.key] = route
    return found


def _host(
    host: VirtualHost,
    measures: Mapping[ObjectRef, Withholding],
    before: Routes,
    protection: _Protection,
) -> VirtualHost:
    stream = _stream(host.stream, measures)
    if stream is not host.stream:
        host = replace(host, stream=stream)
    if not before and not any(route.origin.subject in measures for route in host.routes):
        return host
    main = {route.match for route in host.routes if not route.selection}
    routes: Routes = {}
    for route in host.routes:
        match measures.get(route.origin.subject):
            case None:
                routes[route.key] = route
            case Withholding.CHANGE if (old := before.get(route.key)) and not protection.lost(old, route):
                pass  # from *before*, below
            case Withholding.CHANGE | Withholding.CONTENT:
                # Without a variant such as a canary, the main route serves its requests.
                if not route.selection or protection.of(route) or route.match not in main:
                    routes[route.key] = _closed(route)
            case Withholding.EVERYTHING:
                pass
    for key, route in before.items():
        if host.owner in (None, route.origin.subject.key.namespace):
            routes.setdefault(key, route)
    return replace(host, routes=_ordered(routes.values()))


def _stream(stream: StreamRoute | None, measures: Mapping[ObjectRef, Withholding]) -> StreamRoute | None:
    """*stream*; closed where its object is kept back, so that no other certificate stands in for it."""
    if stream is None or stream.origin.subject not in measures or isinstance(stream.action, Close):
        return stream
    message = "the proxy refused what this object asks for"
    return replace(stream, action=Close(reason=Reason.PROXY_REFUSED, message=message), policies=PolicySet())


class _Protection(NamedTuple):
    """What protects routes: policies of their own, and of the backends that they forward to."""

    graph: RouteGraph
    served: RouteGraph | None

    def lost(self, old: Route, new: Route) -> bool:
        """Whether going back from *new* to *old* would open what its author wants protected."""
        wanted, held = _guards(new, self.graph), _guards(old, self.served or self.graph)
        return any(policy not in held for policy in wanted)

    def of(self, route: Route) -> bool:
        """Whether anything protects *route*."""
        return bool(_guards(route, self.graph))


def _guards(route: Route, graph: RouteGraph) -> list[Policy]:
    found = [policy for policy in route.policies if policy.protects]
    if isinstance(route.action, Forward):
        for key, _ in route.action.backends:
            if key.policies and (backend := graph.backends.get(key)) is not None:
                found += (policy for policy in backend.policies if policy.protects)
    return found


def _closed(route: Route) -> Route:
    message = "the proxy refused what this object asks for"
    action = Respond(status=503, reason=Reason.PROXY_REFUSED, message=message)
    return replace(route, action=action, policies=PolicySet())


def _ordered(routes: Iterable[Route]) -> tuple[Route, ...]:
    return tuple(sorted(routes, key=lambda route: route.precedence))


def _place(host: VirtualHost) -> tuple[int, str]:
    """The order of `RouteGraph.virtual_hosts`: names, wildcards, any."""
    return (2 if host.host == "*" else host.host.startswith("*."), host.host)


def _backends(
    hosts: Iterable[VirtualHost], graph: RouteGraph, served: RouteGraph | None
) -> dict[BackendKey, Backend]:
    """Exactly those that are forwarded to: as they should be now, else as they were."""
    found: dict[BackendKey, Backend] = {}
    for key in sorted(set(_forwarded(hosts))):
        if key in graph.backends:
            found[key] = graph.backends[key]
            continue
        old = served.backends.get(key) if served is not None else None
        old = old or Backend(key=key, note="the Service is not known any more")
        if key.policies and (now := _same_port(key, graph)) is not None:
            # With the policies that are served now, at the endpoints that there are now.
            old = replace(now, key=key, policies=old.policies)
        found[key] = old
    return found


def _same_port(key: BackendKey, graph: RouteGraph) -> Backend | None:
    return next((item for other, item in graph.backends.items() if other[:4] == key[:4]), None)


def _forwarded(hosts: Iterable[VirtualHost]) -> Iterator[BackendKey]:
    for host in hosts:
        for route in host.routes:
            if isinstance(route.action, Forward):
                yield from route.action.keys
        if host.stream is not None and isinstance(host.stream.action, Forward):
            yield from host.stream.action.keys


def _certificates(
    graph: RouteGraph, measures: Mapping[ObjectRef, Withholding], served: RouteGraph | None
) -> Mapping[ObjectKey, Certificate]:
    found = dict(graph.certificates)
    for subject, measure in measures.items():
        if subject.kind == Secret.kind and subject.key in found:
            old = served.certificates.get(subject.key) if served is not None else None
            if measure is Withholding.CHANGE and old is not None:
                found[subject.key] = old
            else:
                del found[subject.key]
    return found
