"""Asking a route graph what would become of a request, in the words of a scenario."""

from __future__ import annotations

import ipaddress
from typing import assert_never

from ingresskit.graph import (
    Forward,
    HostRefused,
    PathRefused,
    Redirect,
    Respond,
    Route,
    RouteGraph,
    VirtualHost,
    normalise_host,
    normalise_path,
    redirects_to_tls,
)
from ingresskit.policies import AllowedSources
from ingresskit.testing.scenario import Answer, Ask, endpoint_text

__all__ = ["ask_graph"]

_CLIENT = ipaddress.ip_address("127.0.0.1")


def ask_graph(graph: RouteGraph, ask: Ask) -> Answer:
    """What a proxy that serves *graph* answers to a client on this machine.

    Judges what a graph decides: host, path, endpoints, redirects, who is let in, certificates. Not
    what only a proxy does: it leaves out what the endpoint and the client see.
    """
    certificate = None
    if ask.tls:
        chosen = graph.certificate_for(ask.server_name)
        certificate = str(chosen.secret) if chosen else ""
    path, _, _ = ask.path.partition("?")
    try:
        hosts, normal = graph.candidates(ask.host), normalise_path(path)
    except (HostRefused, PathRefused):
        return Answer(status=400, certificate=certificate)
    for host in hosts:
        for route in host.routes:
            if route.match.matches(normal):
                return _answer(graph, host, route, ask, certificate)
    return Answer(status=404, certificate=certificate)


def _answer(graph: RouteGraph, host: VirtualHost, route: Route, ask: Ask, certificate: str | None) -> Answer:
    if (allowed := route.policies.get(AllowedSources)) and allowed.networks:
        if not any(_CLIENT in network for network in allowed.networks):
            return Answer(status=403, certificate=certificate)
    if not ask.tls and redirects_to_tls(host, route):
        location = f"https://{normalise_host(ask.host)}{ask.path}"
        return Answer(status=308, location=location)
    match route.action:
        case Redirect(location=location, status=status):
            return Answer(status=status, location=location, certificate=certificate)
        case Respond(status=status):
            return Answer(status=status, certificate=certificate)
        case Forward(backends=shares):
            backends = [graph.backends[share.key] for share in shares]
            usable = [backend for backend in backends if backend.endpoints]
            if not usable:
                return Answer(status=503, certificate=certificate)
            return Answer(
                status=200,
                services=frozenset(f"{item.key.namespace}/{item.key.service}" for item in usable),
                endpoints=frozenset(
                    endpoint_text(endpoint.address, endpoint.port)
                    for item in usable
                    for endpoint in item.endpoints
                ),
                certificate=certificate,
            )
        case _:
            assert_never(route.action)
