"""What a graph does with a request: the definition that every data plane is held to. No I/O."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from typing_extensions import override

from ingresskit.filters.any_of import AnyOf
from ingresskit.filters.base import (
    Address,
    Bucket,
    Filter,
    Handshake,
    Question,
    Reply,
    Subrequest,
    Verdict,
    Verification,
    Verifying,
)
from ingresskit.filters.chain import BUILTIN_EFFECTS, Chain, chain_of
from ingresskit.filters.effects import PolicyEffects
from ingresskit.graph import (
    Backend,
    Forward,
    HostRefused,
    JudgedRequest,
    Outcome,
    PathRefused,
    Request,
    Route,
    RouteGraph,
    Termination,
    VirtualHost,
    normalise_host,
    normalise_path,
)
from ingresskit.policies import ClientCertificates, Stage

__all__ = ["Decision", "decide", "decide_all"]

_ANY_CLIENT = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - nothing is bound to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to a request.

    Attributes:
        host: In normal form; as sent when it has none.
        path: In normal form; as sent when it has none.
        fault: Why host or path cannot be served, a clause; empty otherwise.
        virtual_host: The most specific host that the request belongs to, or the one whose route took it;
            ``None`` when no Ingress claims the host.
        route: The route that takes the request; ``None``: none does.
        reply: The response of the proxy itself; ``None``: the request is forwarded.
        stage: The stage that decided the reply; ``None`` where no policy or action did.
        backends: Those that may get the request: with endpoints, in the order of the route; empty
            when the proxy responds itself.
        forwarded: The path that the endpoint gets, without the query; empty when none gets it.
        query: The query that the endpoint gets, with its question mark; empty without one.
        upstream_host: What the endpoint gets as ``Host`` in place of the client's; empty: that one.
        chain: The filters of the route; ``None`` without one.
        questions: What filters ask others before it comes to that, in order: all the rest holds for a request
            that they let go on. What the others say decides.
        probability: Which part of such requests this happens to: 1, unless variants take shares.
    """

    host: str
    path: str
    fault: str = ""
    virtual_host: VirtualHost | None = None
    route: Route | None = None
    reply: Reply | None = None
    stage: Stage | None = None
    backends: tuple[Backend, ...] = ()
    forwarded: str = ""
    query: str = ""
    upstream_host: str = ""
    chain: Chain | None = None
    questions: tuple[Question, ...] = ()
    probability: Fraction = Fraction(1)


def decide(
    graph: RouteGraph, request: Request, *, tls_served: bool = True, effects: PolicyEffects = BUILTIN_EFFECTS
) -> Decision:
    """What a data plane that serves *graph* does with *request*, or with most of such requests.

    As `decide_all`, of whose decisions it is the likeliest; of equally likely ones the last.
    """
    found = decide_all(graph, request, tls_served=tls_served, effects=effects)
    return max(reversed(found), key=lambda item: item.probability)


def decide_all(
    graph: RouteGraph, request: Request, *, tls_served: bool = True, effects: PolicyEffects = BUILTIN_EFFECTS
) -> tuple[Decision, ...]:
    """Everything that a data plane which serves *graph* may do with *request*.

    One decision, unless variants (canaries) take shares of such requests: then one for each of them, in the
    order in which they are asked, and one for the requests that they leave. The probabilities add up to 1.
    What an endpoint is chosen by is no part of it: `Decision.backends` has all.

    Over TLS the client shows no certificate, and makes its handshake for the host that it asks for.
    Filters that need a `Memory` or send a `Subrequest` are taken to let the request go on: what they say
    depends on more than the request. `Decision.questions` has what is asked. A `Verification` is made, and may
    take a second.

    Args:
        graph: What is served.
        request: Without a client, filters on its address let it through.
        tls_served: Whether plain requests can be redirected to TLS.
        effects: What policies do.
    """
    try:
        host = normalise_host(request.host)
    except HostRefused as exc:
        return (_malformed(request, f"the host {request.host!r} {exc}"),)
    try:
        path = normalise_path(request.path, graph.paths)
    except PathRefused as exc:
        return (_malformed(request, f"the path {request.path!r} {exc}"),)
    view = _View(request, host, path, tls_served=tls_served)
    try:
        outcomes = graph.outcomes(request)
    except PathRefused as exc:
        return (_malformed(request, f"the path {request.path!r} {exc}"),)
    return tuple(
        replace(_outcome(graph, outcome, view, effects), probability=outcome.probability)
        for outcome in outcomes
    )


def _outcome(graph: RouteGraph, outcome: Outcome, view: _View, effects: PolicyEffects) -> Decision:
    if outcome.host is not None and outcome.route is not None:
        return _routed(graph, outcome.host, outcome.route, view, effects)
    return Decision(
        host=view.host,
        path=view.path,
        virtual_host=outcome.host,
        reply=Reply(status=404, termination=Termination.NO_ROUTE),
    )


def _routed(
    graph: RouteGraph, host: VirtualHost, route: Route, view: _View, effects: PolicyEffects
) -> Decision:
    chain = chain_of(host, route, effects=effects)
    view = view.under(host)
    questions: list[Question] = []
    for item in chain.secure if view.https else chain.plain:
        if item.stage in chain.shadow:
            continue
        judges_address = item.stage is Stage.ADDRESS or (isinstance(item, AnyOf) and item.judges_addresses)
        if judges_address and view.request.client is None:
            continue
        refused = item.stage is Stage.ADDRESS and not view.has_address
        reply = Reply(status=403) if refused else _asked(item, view)
        if isinstance(reply, Subrequest):
            questions.append(reply)
        if isinstance(reply, Reply):
            return Decision(
                host=view.host,
                path=view.path,
                virtual_host=host,
                route=route,
                reply=reply,
                stage=item.stage,
                chain=chain,
                questions=tuple(questions),
            )
    # A route that does not forward has replied.
    try:
        path, query = chain.forwarded(view.path, route, view.query, graph.paths)
    except PathRefused as exc:
        return Decision(
            host=view.host,
            path=view.path,
            fault=f"the path {view.path!r} {exc}",
            virtual_host=host,
            route=route,
            reply=Reply(status=400, termination=Termination.BAD_REQUEST),
            stage=Stage.REWRITE,
            chain=chain,
            questions=tuple(questions),
        )
    shares = route.action.backends if isinstance(route.action, Forward) else ()
    backends = [graph.backends[share.key] for share in shares if share.key in graph.backends]
    usable = tuple(backend for backend in backends if backend.endpoints)
    if not usable and isinstance(route.action, Forward) and route.action.fallback is not None:
        default = graph.backends.get(route.action.fallback)
        usable = () if default is None or not default.endpoints else (default,)
    return Decision(
        host=view.host,
        path=view.path,
        virtual_host=host,
        route=route,
        reply=None if usable else Reply(status=503, termination=Termination.NO_ENDPOINT),
        stage=None if usable else Stage.UPSTREAM,
        backends=usable,
        forwarded=path if usable else "",
        query=query.decode("ascii") if usable else "",
        upstream_host=chain.host if usable else "",
        chain=chain,
        questions=tuple(questions),
    )


def _asked(guard: Filter, view: _View) -> Reply | Subrequest | Verdict:
    """What *guard* makes of the request; what it wants verified, this does."""
    outcome = guard.request(view, _NO_MEMORY)
    while isinstance(outcome, Verification):
        asking = outcome.then or guard
        if not isinstance(asking, Verifying):
            return None
        outcome = asking.verified(view, outcome.function(outcome.stored, outcome.given))
    return outcome


def _malformed(request: Request, fault: str) -> Decision:
    reply = Reply(status=400, termination=Termination.BAD_REQUEST)
    return Decision(host=request.host, path=request.path, fault=fault, reply=reply)


class _View(JudgedRequest):
    """A `Request` as filters see it."""

    __slots__ = ("_tls_served", "client", "handshake", "has_address", "host", "https", "path")

    def __init__(self, request: Request, host: str, path: str, *, tls_served: bool) -> None:
        super().__init__(request)
        self.host: str = host
        self.path: str = path
        self.https: bool = request.scheme == "https"
        address = _address(request.client)
        self.client: Address = address or _ANY_CLIENT
        # What is not an address is in no range.
        self.has_address: bool = address is not None
        self._tls_served = tls_served
        self.handshake: Handshake | None = None

    def under(self, host: VirtualHost) -> _View:
        """The request as *host* sees it, for which its connection was made."""
        if self.https:
            self.handshake = Handshake(rule_host=host.host, asked=host.policies.get(ClientCertificates))
        return self

    @override
    def field(self, name: bytes) -> bytes | None:
        """As `JudgedRequest.field`; the field ``Host`` is what the request names, with its port."""
        return self.request.host.encode("latin-1", "replace") if name == b"host" else super().field(name)

    @property
    def length(self) -> int | None:
        text = self.request.headers.get("content-length", "0")
        return int(text) if text.isdecimal() else None

    @property
    def secure_location(self) -> str | None:
        return f"https://{self.host}{self.path}{self.request.query}" if self._tls_served else None


class _NoMemory:
    """Remembers nothing: every bucket is full."""

    now: float = 0.0
    unix_time: float = math.nan

    def draw(self, bits: int) -> int:
        return 0

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        return True

    def take_all(self, buckets: Sequence[Bucket]) -> bool:
        return True

    def hold(self, key: tuple[object, ...], most: int) -> bool:
        return True


_NO_MEMORY = _NoMemory()


def _address(text: str | None) -> Address | None:
    if text is None:
        return _ANY_CLIENT
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
