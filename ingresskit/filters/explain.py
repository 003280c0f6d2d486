"""Why a request gets its response: the winning rule, and a reason for each near miss.

A near miss is a rule that its author might have expected to win: it is served under a host or a
path that takes the request, or would be if it were served at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never
from urllib.parse import urlsplit

from ingresskit.filters.base import Question, Subrequest, Verification
from ingresskit.filters.chain import BUILTIN_EFFECTS
from ingresskit.filters.decide import Decision, decide, decide_all
from ingresskit.filters.effects import PolicyEffects
from ingresskit.filters.near_misses import NearMiss, near_misses
from ingresskit.filters.would import refused_by, would_be
from ingresskit.graph import (
    Close,
    Forward,
    HostHolder,
    Redirect,
    Request,
    Respond,
    Route,
    RouteGraph,
    StreamRoute,
    holder_of,
)
from ingresskit.models import NO_CLAIMS, HostClaims
from ingresskit.policies import PlainHttp, Stage

__all__ = ["Explanation", "explain"]

_MOST_NEAR_MISSES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What happens to a request and why.

    Attributes:
        host: The host in normal form; as sent when it has none.
        path: The path in normal form; as sent when it has none.
        virtual_host: The rule host that took the request, ``None`` when none did.
        route: The route that took it, ``None`` when none did.
        status: That of the proxy's own response; ``None`` when it forwards the request.
        verdict: What happens, one sentence.
        order: The stages at which the route's policies act on the request, in the order in which they act;
            those after one that responds are not reached.
        near_misses: At most 50, nearest first: those of the host that is asked for, then of hosts that relate
            to it by structure, then rules of such hosts that are not served, then hosts of like spelling. Of
            other hosts, eight at most.
        near_miss_count: How many near misses there are, with those that are not shown.
        holder: Who holds the host, since when and why; ``None`` without a holder or a record.
    """

    request: Request
    host: str
    path: str
    virtual_host: str | None = None
    route: Route | None = None
    status: int | None = None
    verdict: str
    order: tuple[Stage, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    near_miss_count: int = 0
    holder: HostHolder | None = None


def explain(
    graph: RouteGraph,
    request: Request,
    claims: HostClaims = NO_CLAIMS,
    *,
    effects: PolicyEffects = BUILTIN_EFFECTS,
) -> Explanation:
    """Why *request* gets the response it gets. The response is that of `decide`.

    Args:
        graph: What is served.
        request: The request; nothing is sent.
        claims: The record of the same translation, to say who holds the host.
        effects: What policies do; those of the renderer, ``Renderer.effects``.
    """
    decision = decide(graph, request, effects=effects)
    host, path, route = decision.host, decision.path, decision.route
    status = None if decision.reply is None else decision.reply.status
    if decision.fault:
        verdict = f"400: {decision.fault}."
        return Explanation(request=request, host=host, path=path, status=status, verdict=verdict)
    candidates = graph.candidates(request.host)
    if request.scheme == "https" and candidates and (stream := candidates[0].stream) is not None:
        return Explanation(
            request=request,
            host=host,
            path=path,
            virtual_host=candidates[0].host,
            verdict=_passed(candidates[0].host, stream),
            holder=holder_of(claims, request.host),
        )
    misses = near_misses(graph, request, decision, candidates, most=_MOST_NEAR_MISSES)
    return Explanation(
        request=request,
        host=host,
        path=path,
        virtual_host=decision.virtual_host.host if route and decision.virtual_host else None,
        route=route,
        status=status,
        verdict=_verdict(graph, request, decision)
        + "".join(f" {sentence}" for sentence in would_be(request, decision))
        + _on_trial(decision)
        + _others(graph, request, decision, effects),
        order=_order(request, decision),
        near_misses=misses.shown,
        near_miss_count=misses.total,
        holder=holder_of(claims, request.host),
    )


def _passed(host: str, stream: StreamRoute) -> str:
    """What happens to connections with TLS for a host that is passed on: no request on them is ever seen."""
    match stream.action:
        case Close(message=message):
            return f"TLS connections for {host} are closed because {message} ({stream.origin})."
        case Forward(backends=backends):
            where = ", ".join(str(share.key) for share in backends)
            return f"TLS connections for {host} are passed on to {where} as they are ({stream.origin})."


def _order(request: Request, decision: Decision) -> tuple[Stage, ...]:
    if decision.route is None or decision.chain is None:
        return ()
    return decision.chain.stages(decision.route.order, https=request.scheme == "https")


def _on_trial(decision: Decision) -> str:
    """Which policies refuse nothing, where the route says so; a further sentence."""
    if decision.chain is None or not decision.chain.shadow:
        return ""
    return f" On trial, and refusing nothing: {', '.join(sorted(decision.chain.shadow))}."


def _verdict(graph: RouteGraph, request: Request, decision: Decision) -> str:
    host, route, reply = decision.virtual_host, decision.route, decision.reply
    if host is None:
        return f"404: no Ingress claims the host {decision.host}."
    if route is None:
        return f"404: the host {host.host} has no rule that takes {decision.path}."
    rule = f"{route.shown} of {host.host} ({route.origin})"
    if reply is None:
        said = f"{rule} takes it and forwards it to {', '.join(str(item.key) for item in decision.backends)}."
    else:
        said = f"{reply.status}: {rule} takes it{_reason(graph, request, route, decision)}."
    return said + "".join(map(_asked, decision.questions))


def _asked(question: Question) -> str:
    """Who decides whether it comes to that, as a further sentence."""
    match question:
        case Subrequest(url=url):
            # Path and query may hold what a client sent.
            parts = urlsplit(url)
            return f" Before that, {parts.scheme}://{parts.netloc} is asked whether the request may go on."
        case Verification():
            return " Before that, the credentials of the request are verified."
        case _:
            assert_never(question)


def _others(graph: RouteGraph, request: Request, decision: Decision, effects: PolicyEffects) -> str:
    """What happens to the other part of such requests, where variants take shares; further sentences."""
    others = [item for item in decide_all(graph, request, effects=effects) if item.route is not decision.route]
    return "".join(
        f" Of such requests, {float(item.probability):.4g} take another way: {_verdict(graph, request, item)}"
        for item in others
    )


def _reason(graph: RouteGraph, request: Request, route: Route, decision: Decision) -> str:
    """Why the proxy responds itself, as the end of a sentence."""
    match decision.stage:
        case Stage.ADDRESS:
            by = refused_by(request, decision)
            return f" and does not let {request.client} in" + (f": refused by {by}" if by else "")
        case Stage.AGENT:
            return ", and keeps out what its User-Agent or Referer names"
        case Stage.RATE if decision.reply is not None and decision.reply.status == 405:
            return f" and does not serve {request.method[:20]!a}"
        case Stage.PLAIN_HTTP:
            return f", and plain HTTP is refused ({_asked_by(route)})"
        case Stage.TLS_REDIRECT:
            return " and sends plain HTTP to HTTPS"
        case Stage.PREFLIGHT:
            return " and responds to the preflight itself"
        case Stage.AUTHENTICATION if decision.reply is not None and decision.reply.status < 500:
            return " and lets nobody in without credentials"
        case Stage.AUTHENTICATION:
            return ", and it is closed: there is no service to ask, or clients would choose it"
        case Stage.BODY:
            return ", and its body is larger than the limit"
        case _:
            return _own_reason(graph, route)


def _own_reason(graph: RouteGraph, route: Route) -> str:
    match route.action:
        case Redirect(location=location):
            return f" and redirects to {location}"
        case Respond(message=message):
            return f" because {message}" if message else ""
        case Forward(backends=backends):
            held = [(share.key, graph.backends[share.key]) for share in backends if share.key in graph.backends]
            return f", but no endpoint can ({'; '.join(f'{key}: {item.note}' for key, item in held)})"


def _asked_by(route: Route) -> str:
    origin = route.policies.origin(PlainHttp, "allowed")
    return str(origin.field if origin is not None else route.origin)
