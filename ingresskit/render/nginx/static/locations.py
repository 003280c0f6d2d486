"""Which locations a server has, and which route takes the requests of each.

A Prefix rule is two locations, ``= /foo`` and ``^~ /foo/``, so that ``/foobar`` is neither. nginx sends
requests for ``/foo`` to ``/foo/`` by itself where only the latter is proxied; so an Exact ``/foo/`` brings
a location for ``/foo`` with it, which does what is done there without the rule.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from ingresskit.graph import PathKind, Route, VirtualHost
from ingresskit.render.nginx.static.long_paths import Location
from ingresskit.render.nginx.static.normal_form import decoded_twin

__all__ = ["Served", "locations_of", "served"]


class Served(NamedTuple):
    """A route, and the virtual host it was written for."""

    host: VirtualHost
    route: Route


def served(hosts: Iterable[VirtualHost]) -> tuple[Served, ...]:
    """The routes that may take a request whose host has these candidates, by precedence.

    Args:
        hosts: Most specific first; more than one only where requests may fall through. A route that
            nothing can reach, because a more specific host takes all of it, is left out.
    """
    first, *others = hosts
    routes = [Served(first, route) for route in first.routes]
    for host in others:
        taken = [(item.route.match.kind, item.route.match.value) for item in routes]
        known, prefixes = set(taken), {value for kind, value in taken if kind is PathKind.PREFIX}
        routes += [
            Served(host, route)
            for route in host.routes
            if (route.match.kind, route.match.value) not in known and not _below(prefixes, route.match.value)
        ]
    return tuple(sorted(routes, key=lambda item: item.route.match.precedence))


def _below(prefixes: Container[str], path: str) -> bool:
    if "/" in prefixes:
        return True
    while path:
        if path in prefixes:
            return True
        path = path[: path.rfind("/")]
    return False


def locations_of(routes: tuple[Served, ...]) -> list[Location[Served]]:
    """The locations for *routes*, exact ones first; ``^~ /`` is among them."""
    exact: dict[str, Served | None] = {}
    below: dict[str, Served | None] = {}
    for item in routes:
        path = item.route.match.value
        if item.route.match.kind is PathKind.EXACT:
            exact[path] = item
        elif path == "/":
            below["/"] = item
        else:
            exact.setdefault(path, item)
            below[f"{path}/"] = item
    for path in [path for path in exact if path.endswith("/") and path != "/"]:
        if path[:-1] not in exact:
            exact[path[:-1]] = _inherited(below, path[:-1])
    if "/" not in below:
        below["/"] = None
    return [
        *(location for path, taker in exact.items() for location in _written("=", path, taker)),
        *(location for path, taker in below.items() for location in _written("^~", path, taker)),
    ]


def _inherited(below: Mapping[str, Served | None], path: str) -> Served | None:
    """The Prefix rule that takes *path* when no rule is for it alone."""
    while path:
        path = path[: path.rfind("/")]
        if item := below.get(f"{path}/"):
            return item
    return None


def _written(modifier: str, path: str, taker: Served | None) -> Iterable[Location[Served]]:
    yield Location(modifier, path, path, taker)
    twin = decoded_twin(path)
    if twin is not None:
        yield Location(modifier, twin, path, taker)
