"""Asking a route graph what would become of a request, in the words of a scenario."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
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
    refuses_plain_http,
)
from ingresskit.policies import AllowedSources, PrefixRewrite
from ingresskit.testing.scenario import Answer, Ask, Want, endpoint_text

__all__ = ["answer_faults", "ask_graph"]

# RFC 3986, appendix A: what may stand in a path and a query.
_URL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
_CLIENT = ipaddress.ip_address("127.0.0.1")


def ask_graph(graph: RouteGraph, ask: Ask) -> Answer:
    """What a proxy that serves *graph* answers to a client on this machine.

    Judges what a graph decides: host, path, endpoints, redirects, who is let in, certificates, the
    target that the endpoint sees. Not what only a proxy does: it leaves out header fields.
    """
    certificate = None
    if ask.tls:
        chosen = graph.certificate_for(ask.server_name)
        certificate = str(chosen.secret) if chosen else ""
    path, mark, query = ask.path.partition("?")
    try:
        hosts, normal = graph.candidates(ask.host), normalise_path(path)
    except (HostRefused, PathRefused):
        return Answer(status=400, certificate=certificate)
    for host in hosts:
        for route in host.routes:
            if route.match.matches(normal):
                return _answer(graph, host, route, ask, normal, mark + query, certificate)
    return Answer(status=404, certificate=certificate)


def answer_faults(graph: RouteGraph, ask: Ask, answer: Answer) -> tuple[str, ...]:
    """What is wrong with the answer of a proxy.

    Args:
        graph: What it serves, with the endpoints of the cluster (not those of a `LoopbackWorld`).
        ask: The request.
        answer: What it answered.

    Returns:
        Each fault as a sentence; empty when it is right. A request that no client may send (characters
        that stand in no URL, a port above 65535) may be refused as well as answered. The mark of an
        empty query may get lost.
    """
    right = ask_graph(graph, ask)
    if answer.status == 400 and _is_doubtful(ask):
        return ()
    if not answer.services <= right.services or not answer.endpoints <= right.endpoints:
        by = ", ".join(sorted(answer.services | answer.endpoints))
        one_of = ", ".join(sorted(right.services | right.endpoints)) or "nobody"
        return (f"{ask}: answered by {by}, not by {one_of}",)
    if right.forwarded is not None and right.forwarded == f"{answer.forwarded}?":
        answer = replace(answer, forwarded=right.forwarded)
    want = Want(
        ask=ask,
        status=right.status,
        location=right.location,
        certificate=right.certificate,
        forwarded=right.forwarded,
    )
    return want.faults([answer])


def _answer(
    graph: RouteGraph, host: VirtualHost, route: Route, ask: Ask, path: str, query: str, certificate: str | None
) -> Answer:
    if (allowed := route.policies.get(AllowedSources)) and allowed.networks:
        if not any(_CLIENT in network for network in allowed.networks):
            return Answer(status=403, certificate=certificate)
    if not ask.tls and refuses_plain_http(route):
        return Answer(status=403)
    if not ask.tls and redirects_to_tls(host, route):
        location = f"https://{normalise_host(ask.host)}{path}{query}"
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
                forwarded=_rewritten(route, path) + query,
            )
        case _:
            assert_never(route.action)


def _rewritten(route: Route, path: str) -> str:
    rewrite = route.policies.get(PrefixRewrite)
    if rewrite is None or rewrite.prefix is None:
        return path
    return rewrite.prefix.rstrip("/") + path[len(route.match.value.rstrip("/")) :] or "/"


def _is_doubtful(ask: Ask) -> bool:
    port = ask.host.rpartition(":")[2]
    return not _URL.fullmatch(ask.path) or (port.isdecimal() and int(port) > 65535)
