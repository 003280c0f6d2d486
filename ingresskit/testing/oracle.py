"""Asking a route graph what would become of a request, in the words of a scenario."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from ingresskit.filters import Decision, decide_all
from ingresskit.graph import Request, RouteGraph
from ingresskit.testing.scenario import Answer, Ask, Want, endpoint_text

__all__ = ["answer_faults", "ask_graph", "possible_answers"]

# RFC 3986, appendix A: what may stand in a path and a query.
_URL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
_CLIENT: Final = "127.0.0.1"
# What becomes of a request that others do not let go on, or who do not respond.
_REFUSALS: Final = frozenset({302, 401, 403, 500, 503})


def ask_graph(graph: RouteGraph, ask: Ask) -> Answer:
    """What a proxy that serves *graph* answers to a client on this machine, or to most such clients.

    As `possible_answers`, of which it is the likeliest.
    """
    return next(answer for _, answer in _answers(graph, ask))


def possible_answers(graph: RouteGraph, ask: Ask) -> tuple[Answer, ...]:
    """All that a proxy which serves *graph* may answer to a client on this machine, the likeliest first.

    Several where variants (canaries) take shares of the requests. Where a filter asks others, as
    `Decision.questions` says, these are the answers to a request that they let go on.

    Judges what a graph decides: host, path, endpoints, redirects, who is let in, certificates, the
    target that the endpoint sees. Not what only a proxy does: it leaves out header fields.
    """
    return tuple(answer for _, answer in _answers(graph, ask))


def _answers(graph: RouteGraph, ask: Ask) -> tuple[tuple[Decision, Answer], ...]:
    certificate = None
    if ask.tls:
        chosen = graph.certificate_for(ask.server_name)
        certificate = str(chosen.secret) if chosen else ""
    path, mark, query = ask.path.partition("?")
    scheme = "https" if ask.tls else "http"
    request = Request(
        scheme=scheme,
        host=ask.host,
        path=path,
        query=mark + query,
        method=ask.method,
        headers={name.lower(): value for name, value in ask.headers.items()},
        client=_CLIENT,
    )
    # Of equally likely ones the last, as `decide` has it.
    decisions = list(decide_all(graph, request))[::-1]
    decisions.sort(key=lambda item: -item.probability)
    return tuple((decision, _answer(decision, certificate, mark + query)) for decision in decisions)


def _answer(decision: Decision, certificate: str | None, query: str) -> Answer:
    if decision.reply is not None:
        location = decision.reply.location or None
        return Answer(status=decision.reply.status, location=location, certificate=certificate)
    return Answer(
        status=200,
        services=frozenset(f"{item.key.namespace}/{item.key.service}" for item in decision.backends),
        endpoints=frozenset(
            endpoint_text(endpoint.address, endpoint.port)
            for item in decision.backends
            for endpoint in item.endpoints
        ),
        certificate=certificate,
        forwarded=decision.forwarded + decision.query,
    )


def answer_faults(graph: RouteGraph, ask: Ask, answer: Answer) -> tuple[str, ...]:
    """What is wrong with the answer of a proxy.

    Args:
        graph: What it serves, with the endpoints of the cluster (not those of a `LoopbackWorld`).
        ask: The request.
        answer: What it answered.

    Returns:
        Each fault as a sentence; empty when it is right. A request that no client may send (characters
        that stand in no URL, a port above 65535) may be refused as well as answered. The mark of an
        empty query may get lost. Where others are asked who may say no, so may the answer.
    """
    if answer.status == 400 and _is_doubtful(ask):
        return ()
    possible = _answers(graph, ask)
    if not answer.services and answer.status in _REFUSALS and any(item.questions for item, _ in possible):
        return ()
    found = [_faults(ask, right, answer) for _, right in possible]
    return found[0] if all(found) else ()


def _faults(ask: Ask, right: Answer, answer: Answer) -> tuple[str, ...]:
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


def _is_doubtful(ask: Ask) -> bool:
    port = ask.host.rpartition(":")[2]
    return not _URL.fullmatch(ask.path) or (port.isdecimal() and int(port) > 65535)
