"""A renderer for a program and the delegate beside it: one graph becomes one for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Final, Generic, Never, assert_never

from typing_extensions import override

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.graph import (
    Action,
    Backend,
    BackendKey,
    Endpoint,
    Forward,
    PathKind,
    PathMatch,
    Respond,
    Route,
    RouteGraph,
    StreamRoute,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.policies import Policy, PolicyScope, PolicySet, Stage, Timeouts, TlsRedirect
from ingresskit.render.base import ArtifactT, Renderer
from ingresskit.render.delegate.division import Division, HostSplit, WholeHosts, backend_keys, keys_of
from ingresskit.render.delegate.handover import DELEGATE, HandedOver, Handover
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable, StreamTarget, stream_targets
from ingresskit.render.judged import Restricted
from ingresskit.render.policies import HandlerTable, PolicyHandler, Support

__all__ = ["Delegated", "DelegatingRenderer"]

# The delegate has time-outs of its own for endpoints; the front only has to wait longer.
_PATIENCE: Final = timedelta(hours=1)
_LONGEST_PATH: Final = 3000
_TO_DELEGATE: Final = Forward(backends=(WeightedBackend(DELEGATE),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated(Generic[ArtifactT]):
    """An artifact for a program and the delegate beside it.

    Attributes:
        front: What the program serves, with a route to the delegate in place of each that it cannot serve
            exactly.
        table: What the delegate serves: those routes.
    """

    front: ArtifactT
    table: RoutingTable


class DelegatingRenderer(Renderer[Delegated[ArtifactT]]):
    """Makes artifacts of *front*, and a routing table for what it cannot do exactly.

    Which routes that are, the handlers of *front* say: those with a policy that has a loss with
    `Support.DELEGATED`. A host with a route that *front* cannot match (`Renderer.can_match`) is handed over
    whole, unless requests fall through to other hosts, or endpoints of it speak what the delegate does not.
    So is a host with such a policy at a variant or a regular expression; where it cannot be, that route
    responds 503.
    All others are rendered as without a delegate. A route that responds by itself is handed over where one of
    its policies acts before that.

    Policies that *front* has no handler for, and the delegate an effect, are the delegate's: every route that
    has one is handed over.

    Args:
        front: The renderer of the program. It belongs to this renderer from now on.
        socket: Where the delegate takes requests: the absolute path of a Unix socket.
        effects: What policies do in the delegate, which imports the modules of the filters that they come to.
        affinity_key: As in `InProcessRenderer`.

    Raises:
        ConfigurationError: A policy of *effects* stands where no other process can import it.
    """

    name: ClassVar[str] = "delegating"

    def __init__(
        self,
        front: Renderer[ArtifactT],
        socket: str,
        *,
        effects: PolicyEffects = BUILTIN_EFFECTS,
        affinity_key: bytes = b"",
    ) -> None:
        for kind in effects.kinds:
            _check_importable(kind)
        front.delegate = True
        front.takes_ports = True
        self._given_ports: Mapping[int, StreamRoute] | None = None
        self._port_targets: Mapping[int, StreamTarget] = {}
        self._front = front
        self._inprocess = InProcessRenderer(effects=effects, affinity_key=affinity_key)
        vars(self._inprocess).update(name="delegate's")
        loses = front.loses_trailers
        self._whole_hosts = WholeHosts(self._can_match, loses_trailers=loses)
        delegate = Backend(key=DELEGATE, endpoints=(Endpoint(address=socket, port=1),))
        self._division = Division(self._split, delegate, loses_trailers=loses)
        # What a policy of a backend does is no effect, and so nothing that the delegate would do.
        others = (kind for kind in effects.kinds if kind.scope is not PolicyScope.BACKEND)
        front.handlers = front.handlers.with_delegated(others)
        self.handlers: HandlerTable[PolicyHandler[Never, Never]] = front.handlers
        # To everybody else it is the renderer of the program.
        supports = front.handlers.supports
        vars(self).update(name=front.name, supports=supports, protocols=front.protocols, effects=effects)

    @property
    def front(self) -> Renderer[ArtifactT]:
        """The renderer of the program."""
        return self._front

    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        """As the renderer of the program does, which knows of the delegate, and what that cannot do."""
        restricted = self._whole_hosts.restrict(graph, self._front.restrict)
        divided = self._division.follow(restricted.graph)
        more = divided.diagnostics
        if divided.rest is not None:
            more += self._inprocess.restrict(divided.rest).diagnostics
        if not more:
            return restricted
        return replace(restricted, diagnostics=bounded([*restricted.diagnostics, *more]))

    def divided(self, graph: RouteGraph) -> RouteGraph:
        """What the program serves of *graph*, with a route to `DELEGATE` in place of what it hands over."""
        return self._division.follow(graph).front

    def _can_match(self, host: VirtualHost) -> bool:
        return all(map(self._front.can_match, host.routes))

    @override
    def render(self, graph: RouteGraph) -> Delegated[ArtifactT]:
        divided = self._division.follow(graph)
        rest = RouteGraph() if divided.rest is None else self._inprocess.restrict(divided.rest).graph
        table = self._inprocess.render(rest)
        if graph.ports:
            table = replace(table, ports=self._ports(graph), backends={**table.backends, **_of_ports(graph)})
        if divided.whole_hosts:
            table = replace(table, whole_hosts=divided.whole_hosts)
        return Delegated(front=self._front.render(divided.front), table=table)

    def _ports(self, graph: RouteGraph) -> Mapping[int, StreamTarget]:
        """Further ports, which the delegate takes whatever the program is."""
        if graph.ports is not self._given_ports:
            self._given_ports = graph.ports
            self._port_targets = stream_targets(graph.ports)
        return self._port_targets

    def _split(self, host: VirtualHost) -> HostSplit:
        if not self._can_match(host):
            return _whole(host)
        front: list[Route] = []
        handed_over: list[Route] = []
        diagnostics: list[Diagnostic] = []
        # The paths of an Ingress share their policies, and may be ten thousand.
        known: dict[tuple[PolicySet, Action], HandedOver | None] = {}
        for route in host.routes:
            asked = (route.policies, route.action)
            if asked not in known:
                known[asked] = self._requests(route)
            requests = known[asked]
            beyond = not self._division.beyond.isdisjoint(backend_keys(route))
            if requests is not HandedOver.ALL and beyond:
                requests = None  # The delegate does not speak what its endpoints do.
            if requests is None or (isinstance(route.action, Respond) and not self._judges_before(route)):
                front.append(route)
                continue
            fault = _too_long(route) if len(route.match.value) > _LONGEST_PATH else ""
            if beyond and self._front.loses_trailers:
                fault = _NO_TRAILERS
            if route.selection or route.match.kind is PathKind.REGEX:
                # It has no name: the delegate finds it by the request, among all routes of the host.
                if not (self._division.fallthrough or self._needs_more(host)):
                    return _whole(host)
                fault = _NO_NAME
            if fault:
                front.append(replace(route, action=Respond(status=503, reason=Reason.POLICY_UNSUPPORTED)))
                diagnostics.append(_not_handed_over(route, fault))
                continue
            handed_over.append(route)
            front.append(_front_route(host, route, requests))
        if not handed_over and not diagnostics:
            return HostSplit(front=host)
        return HostSplit(
            front=replace(host, routes=tuple(front)),
            handed_over=_beyond_handshake(host, handed_over) if handed_over else None,
            diagnostics=tuple(diagnostics),
        )

    def _needs_more(self, host: VirtualHost) -> bool:
        """Whether endpoints of *host* speak what the delegate does not."""
        return not self._division.beyond.isdisjoint(keys_of(host))

    def _requests(self, route: Route) -> HandedOver | None:
        """Which requests of *route* its policies and those of its backends hand over; ``None``: none."""
        found: set[HandedOver] = set()
        for policy in (*route.policies, *self._backend_policies(route)):
            for loss in self._front.handlers.losses(policy):
                if loss.support is Support.DELEGATED:
                    found.add(HandedOver(loss.requests))
        return HandedOver.union(found)

    def _judges_before(self, route: Route) -> bool:
        """Whether the delegate has a policy of *route*, which responds by itself, that acts before it does.

        A page is then told who may read the response, and a client that it must say who it is.
        """
        place = route.order.place
        return any(
            loss.support is Support.DELEGATED and loss.requests == HandedOver.ALL
            for policy in route.policies
            if place(policy.stage) < place(Stage.ACTION)
            for loss in self._front.handlers.losses(policy)
        )

    def _backend_policies(self, route: Route) -> Iterator[Policy]:
        for key in backend_keys(route):
            if key.policies and (backend := self._division.backends.get(key)) is not None:
                yield from backend.policies


def _of_ports(graph: RouteGraph) -> dict[BackendKey, Backend]:
    """The backends of further ports."""
    actions = (stream.action for stream in graph.ports.values())
    keys = (key for action in actions if isinstance(action, Forward) for key in action.keys)
    return {key: graph.backends[key] for key in keys if key in graph.backends}


def _check_importable(kind: type[Policy]) -> None:
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise ConfigurationError(
            f"the delegate, a process of its own, cannot import the policy {kind.__qualname__}"
            f" of {kind.__module__}; define it at the top of a module that both processes can import"
        )


def _too_long(route: Route) -> str:
    return (
        f"a path of {len(route.match.value)} characters is too long for the delegate, which its policies"
        f" need ({_LONGEST_PATH} at most)"
    )


_NO_NAME: Final = (
    "the delegate, which its policies need, cannot serve a variant or a regular expression of a host that falls"
    " through to other hosts, or has endpoints that it cannot speak to"
)

_NO_TRAILERS: Final = (
    "the delegate, which its policies need, cannot serve endpoints that speak gRPC: the trailers of responses"
    " are lost on the way"
)


def _not_handed_over(route: Route, fault: str) -> Diagnostic:
    return Diagnostic(
        subject=route.origin.subject,
        field=route.origin.field,
        reason=Reason.POLICY_UNSUPPORTED,
        message=f"{fault}; the route responds 503",
        severity=Severity.ERROR,
    )


def _front_route(host: VirtualHost, route: Route, requests: HandedOver) -> Route:
    handover = Handover(host=host.host, match=route.match, requests=requests)
    match requests:
        case HandedOver.ALL:
            return replace(route, action=_TO_DELEGATE, policies=_policies(handover))
        case HandedOver.UNKNOWN_LENGTH | HandedOver.LONG_BODY:
            return replace(route, policies=route.policies.merged(PolicySet((handover,))))
        case _:
            assert_never(requests)


def _beyond_handshake(host: VirtualHost, routes: Iterable[Route]) -> VirtualHost:
    """*host* with these routes, less what only whoever makes the handshake with the client can do."""
    sets = (host.policies, *(route.policies for route in host.routes))
    kinds = {type(policy) for policies in sets for policy in policies.of_handshake()}
    if not kinds:
        return replace(host, routes=tuple(routes), stream=None)
    return replace(
        host,
        stream=None,
        routes=tuple(replace(route, policies=route.policies.without(*kinds)) for route in routes),
        policies=host.policies.without(*kinds),
    )


def _whole(host: VirtualHost) -> HostSplit:
    return HostSplit(
        front=replace(host, routes=(_whole_route(host),), policies=host.policies.of_handshake()),
        handed_over=_beyond_handshake(host, host.routes),
        whole=True,
    )


def _whole_route(host: VirtualHost) -> Route:
    """The one route of *host* in the front, where the delegate serves all of it."""
    handover = Handover(host=host.host, match=None)
    origin = host.routes[0].origin
    return Route(match=PathMatch.prefix("/"), action=_TO_DELEGATE, origin=origin, policies=_policies(handover))


def _policies(handover: Handover) -> PolicySet:
    # Not even a redirect to TLS: the delegate refuses addresses before that.
    return PolicySet((handover, TlsRedirect(enabled=False), Timeouts(read=_PATIENCE, send=_PATIENCE)))
