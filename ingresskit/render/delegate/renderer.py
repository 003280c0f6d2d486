"""A renderer for a program and the delegate beside it: one graph becomes one for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Final, Generic, NamedTuple, Never, assert_never

from typing_extensions import override

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.graph import (
    Backend,
    BackendKey,
    Endpoint,
    Forward,
    PathKind,
    PathMatch,
    Redirect,
    Respond,
    Route,
    RouteGraph,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.policies import Policy, PolicyScope, PolicySet, Timeouts, TlsRedirect
from ingresskit.render.base import ArtifactT, Renderer, Restricted
from ingresskit.render.delegate.handover import DELEGATE, HandedOver, Handover
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.render.policies import HandlerTable, PolicyHandler, Support
from ingresskit.render.remember import Remembered

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """A virtual host, divided.

    Attributes:
        front: As the front gets it; the host itself when nothing is handed over.
        handed_over: As the delegate gets it; ``None``: it gets none of its routes.
        front_keys: The backends that the front needs for it.
        whole: The delegate gets all of it, and finds the routes by itself.
        diagnostics: For routes that neither can serve.
    """

    front: VirtualHost
    handed_over: VirtualHost | None = None
    front_keys: frozenset[BackendKey] = frozenset()
    whole: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()


class _Divided(NamedTuple):
    """A graph, divided; *rest* is for the delegate."""

    front: RouteGraph
    rest: RouteGraph | None
    whole_hosts: frozenset[str]
    diagnostics: list[Diagnostic]


class DelegatingRenderer(Renderer[Delegated[ArtifactT]]):
    """Makes artifacts of *front*, and a routing table for what it cannot do exactly.

    Which routes that are, the handlers of *front* say: those with a policy that has a loss with
    `Support.DELEGATED`. A host with a route that *front* cannot match (`Renderer.can_match`) is handed over
    whole, unless requests fall through to other hosts, or endpoints of it speak what the delegate does not.
    So is a host with such a policy at a variant or a regular expression; where it cannot be, that route
    responds 503.
    All others are rendered as without a delegate.

    Policies that *front* has no handler for, and the delegate an effect, are the delegate's: every route that
    has one is handed over.

    Args:
        front: The renderer of the program. It belongs to this renderer from now on.
        socket: Where the delegate takes requests: the absolute path of a Unix socket.
        effects: What policies do in the delegate, which imports the modules of the filters that they come to.

    Raises:
        ConfigurationError: A policy of *effects* stands where no other process can import it.
    """

    name: ClassVar[str] = "delegating"

    def __init__(
        self, front: Renderer[ArtifactT], socket: str, *, effects: PolicyEffects = BUILTIN_EFFECTS
    ) -> None:
        for kind in effects.kinds:
            _check_importable(kind)
        front.delegate = True
        self._front = front
        self._backend = Backend(key=DELEGATE, endpoints=(Endpoint(address=socket, port=1),))
        self._inprocess = InProcessRenderer(effects=effects)
        vars(self._inprocess).update(name="delegate's")
        self._beyond: frozenset[BackendKey] = frozenset()
        self._fallthrough = False
        self._splits: Remembered[str, VirtualHost, _Split] = Remembered(self._split)
        self._matched: Remembered[str, VirtualHost, bool] = Remembered(self._can_match)
        # What a policy of a backend does is no effect, and so nothing that the delegate would do.
        others = (kind for kind in effects.kinds if kind.scope is not PolicyScope.BACKEND)
        front.handlers = front.handlers.with_delegated(others)
        self.handlers: HandlerTable[PolicyHandler[Never, Never]] = front.handlers
        # To everybody else it is the renderer of the program.
        supports = front.handlers.supports
        vars(self).update(name=front.name, supports=supports, protocols=front.protocols)

    @property
    def front(self) -> Renderer[ArtifactT]:
        """The renderer of the program."""
        return self._front

    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        """As the renderer of the program does, which knows of the delegate, and what that cannot do."""
        restricted = self._restricted_for_front(graph)
        divided = self._divide(restricted.graph)
        more = divided.diagnostics
        if divided.rest is not None:
            more += self._inprocess.restrict(divided.rest).diagnostics
        if not more:
            return restricted
        return replace(restricted, diagnostics=bounded([*restricted.diagnostics, *more]))

    def _restricted_for_front(self, graph: RouteGraph) -> Restricted:
        matched = self._matched.follow({host.host: host for host in graph.virtual_hosts})
        if graph.host_fallthrough or all(matched.values()):
            return self._front.restrict(graph)
        beyond = _beyond(graph)
        whole = {
            host.host: host
            for host in graph.virtual_hosts
            if not matched[host.host]
            and beyond.isdisjoint(key for route in host.routes for key in _keys(route))
        }
        rest = tuple(host for host in graph.virtual_hosts if host.host not in whole)
        restricted = self._front.restrict(replace(graph, virtual_hosts=rest))
        hosts = whole | {host.host: host for host in restricted.graph.virtual_hosts}
        ordered = tuple(hosts[host.host] for host in graph.virtual_hosts)
        return replace(restricted, graph=replace(restricted.graph, virtual_hosts=ordered))

    def _can_match(self, host: VirtualHost) -> bool:
        return all(map(self._front.can_match, host.routes))

    @override
    def render(self, graph: RouteGraph) -> Delegated[ArtifactT]:
        divided = self._divide(graph)
        rest = RouteGraph() if divided.rest is None else self._inprocess.restrict(divided.rest).graph
        table = self._inprocess.render(rest)
        if divided.whole_hosts:
            table = replace(table, whole_hosts=divided.whole_hosts)
        return Delegated(front=self._front.render(divided.front), table=table)

    def _divide(self, graph: RouteGraph) -> _Divided:
        beyond, fallthrough = _beyond(graph), graph.host_fallthrough
        if (beyond, fallthrough) != (self._beyond, self._fallthrough):
            self._beyond, self._fallthrough, self._splits = beyond, fallthrough, Remembered(self._split)
        splits = self._splits.follow({host.host: host for host in graph.virtual_hosts}).values()
        handed_over = [item.handed_over for item in splits if item.handed_over is not None]
        lost = [diagnostic for item in splits for diagnostic in item.diagnostics]
        if not handed_over and not lost:
            return _Divided(graph, None, frozenset(), [])
        front_keys = frozenset[BackendKey]().union(*(item.front_keys for item in splits))
        backends = {key: item for key, item in graph.backends.items() if key in front_keys}
        front = replace(
            graph,
            virtual_hosts=tuple(item.front for item in splits),
            backends={DELEGATE: self._backend, **backends} if handed_over else backends,
        )
        if not handed_over:
            return _Divided(front, None, frozenset(), lost)
        # No certificates: it takes no TLS, and what it does not have it cannot lose.
        rest = RouteGraph(
            virtual_hosts=tuple(handed_over),
            backends=_used(graph.backends, handed_over),
            host_fallthrough=graph.host_fallthrough,
            paths=graph.paths,
        )
        return _Divided(front, rest, frozenset(item.front.host for item in splits if item.whole), lost)

    def _split(self, host: VirtualHost) -> _Split:
        if not self._can_match(host):
            return _whole(host)
        front: list[Route] = []
        handed_over: list[Route] = []
        diagnostics: list[Diagnostic] = []
        # The paths of an Ingress share their policies, and may be ten thousand.
        known: dict[PolicySet, HandedOver | None] = {}
        for route in host.routes:
            if route.policies not in known:
                known[route.policies] = self._requests(route.policies)
            requests = known[route.policies]
            if requests is not HandedOver.ALL and not self._beyond.isdisjoint(_keys(route)):
                requests = None  # The delegate does not speak what its endpoints do.
            if requests is None or isinstance(route.action, Respond):
                front.append(route)
                continue
            fault = _too_long(route) if len(route.match.value) > _LONGEST_PATH else ""
            if route.selection or route.match.kind is PathKind.REGEX:
                # It has no name: the delegate finds it by the request, among all routes of the host.
                if not (self._fallthrough or self._needs_more(host)):
                    return _whole(host)
                fault = _NO_NAME
            if fault:
                front.append(replace(route, action=Respond(status=503, reason=Reason.POLICY_UNSUPPORTED)))
                diagnostics.append(_not_handed_over(route, fault))
                continue
            handed_over.append(route)
            front.append(_front_route(host, route, requests))
        keys = frozenset(key for route in front for key in _keys(route))
        if not handed_over and not diagnostics:
            return _Split(front=host, front_keys=keys)
        return _Split(
            front=replace(host, routes=tuple(front)),
            handed_over=replace(host, routes=tuple(handed_over)) if handed_over else None,
            front_keys=keys,
            diagnostics=tuple(diagnostics),
        )

    def _needs_more(self, host: VirtualHost) -> bool:
        """Whether endpoints of *host* speak what the delegate does not."""
        return not self._beyond.isdisjoint(key for route in host.routes for key in _keys(route))

    def _requests(self, policies: PolicySet) -> HandedOver | None:
        """Which requests of a route with *policies* are handed over; ``None``: none."""
        found: set[HandedOver] = set()
        for policy in policies:
            for loss in self._front.handlers.losses(policy):
                if loss.support is Support.DELEGATED:
                    found.add(HandedOver(loss.requests))
        if not found:
            return None
        return found.pop() if len(found) == 1 else HandedOver.ALL


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
    " through to other hosts, or has endpoints that speak h2c"
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
        case HandedOver.UNKNOWN_LENGTH:
            return replace(route, policies=route.policies.merged(PolicySet((handover,))))
        case _:
            assert_never(requests)


def _whole(host: VirtualHost) -> _Split:
    return _Split(
        front=replace(host, routes=(_whole_route(host),), policies=PolicySet()),
        handed_over=host,
        front_keys=frozenset({DELEGATE}),
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


def _beyond(graph: RouteGraph) -> frozenset[BackendKey]:
    """The backends whose endpoints speak what the delegate does not."""
    spoken = InProcessRenderer.protocols
    return frozenset(key for key, item in graph.backends.items() if item.protocol not in spoken)


def _keys(route: Route) -> Iterable[BackendKey]:
    match route.action:
        case Forward(backends=shares):
            return [share.key for share in shares]
        case Redirect() | Respond():
            return ()
        case _:
            assert_never(route.action)


def _used(backends: Mapping[BackendKey, Backend], hosts: Iterable[VirtualHost]) -> dict[BackendKey, Backend]:
    keys = {key for host in hosts for route in host.routes for key in _keys(route)}
    return {key: item for key, item in backends.items() if key in keys}
