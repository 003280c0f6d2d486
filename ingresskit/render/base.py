"""What a renderer is: the class to subclass for a proxy of your own."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Generic, Never, TypeVar

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.graph import (
    Backend,
    PathKind,
    Protocol,
    Respond,
    Route,
    RouteGraph,
    StreamRoute,
    VirtualHost,
    solves_http01,
)
from ingresskit.models import ObjectKey, ObjectRef, Service
from ingresskit.policies import Origin, Policy, PolicyScope, PolicySet, is_portable
from ingresskit.render.addresses import is_address
from ingresskit.render.judged import Judged, JudgedGraph, Restricted
from ingresskit.render.matching import matchable
from ingresskit.render.policies import HandlerTable, Judgement, Loss, PolicyHandler

__all__ = ["ArtifactT", "Renderer", "RouteLimit"]

ArtifactT = TypeVar("ArtifactT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLimit:
    """Why a proxy cannot hold a route, whatever its policies are.

    Attributes:
        message: Why, as the end of a sentence that begins with "the … renderer".
        reason: For the author of the route.
        drops: The route cannot be in the graph at all: not even a 503 can be served for its path.
    """

    message: str
    reason: Reason = Reason.POLICY_UNSUPPORTED
    drops: bool = False


class Renderer(ABC, Generic[ArtifactT]):
    """Turns a route graph into what one proxy needs to serve it.

    Subclass it, say which policies the proxy honours, and write `render`. For that, give `handlers` a table of
    `PolicyHandler`, or, where `render` reads the policies by itself, name their types in `supports`. Whoever
    runs a renderer passes the graph through `restrict` first, so that `render` never sees a protection that
    it cannot give.
    """

    name: ClassVar[str]
    """A short word for it, as on a command line: ``"nginx"``."""
    handlers: HandlerTable[PolicyHandler[Never, Never]] = HandlerTable()
    """How it honours each policy. Where a class sets `supports` only, the table of those."""
    supports: ClassVar[frozenset[type[Policy]]] = frozenset()
    """The policies it honours. Every other policy of a route is reported to the route's author.
    Where a class sets `handlers`, those that have one."""
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP})
    """What it can speak to endpoints. A backend with another protocol is served as having none."""
    unspoken: Mapping[Protocol, str] = MappingProxyType({})
    """Of other protocols, those that the operator can have it speak: what is missing for each, as the end of a
    sentence, such as "without --http2 on"."""
    looks_names_up: ClassVar[bool] = True
    """Whether an endpoint may be a name (a Service of type ``ExternalName``). If not, such endpoints are
    reported and left out."""
    matches_patterns: ClassVar[bool] = False
    """Whether it matches paths by regular expressions (`PathKind.REGEX`)."""
    limits_matching: ClassVar[bool] = False
    """Whether it does so under a time limit, as those need that are no `ingresskit.policies.Pattern`."""
    matches_variants: ClassVar[bool] = False
    """Whether it tells the variants of a path apart (`Route.selection`)."""
    loses_trailers: ClassVar[bool] = False
    """Whether it loses trailers of responses between its delegate and its clients: gRPC is nothing without."""
    passes_tls: bool = False
    """Whether it passes TLS connections on as they are (`VirtualHost.stream`). If not, such a host is reported,
    and all of its routes respond 503: its certificate is at its endpoints, and so may be what protects it."""
    takes_ports: bool = False
    """Whether it takes connections to further ports (`RouteGraph.ports`). If not, each of them is reported."""
    no_passthrough: str = "does not pass TLS connections on"
    """Why it does not, as the end of a sentence that begins with "the … renderer"."""
    effects: PolicyEffects = BUILTIN_EFFECTS
    """What policies do, for `ingresskit.filters.explain`: a renderer that honours more policies than the
    built-in ones names theirs too."""
    delegate: bool = False
    """Whether a delegate takes the requests of routes that the proxy cannot serve exactly by itself."""
    # What `restrict` made of the graphs before.
    _judged: JudgedGraph | None = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Derive `supports` from `handlers`, or `handlers` from `supports`.

        Raises:
            ConfigurationError: The class sets both.
        """
        super().__init_subclass__(**kwargs)
        if "handlers" in vars(cls):
            if "supports" in vars(cls):
                raise ConfigurationError(f"{cls.__name__} sets both handlers and supports; handlers is enough")
            cls.supports = cls.handlers.supports
        elif "supports" in vars(cls):
            cls.handlers = cls.handlers.only(cls.supports)

    @abstractmethod
    def render(self, graph: RouteGraph) -> ArtifactT:
        """The artifact for *graph*.

        Pure: the same graph gives an equal artifact, byte for byte, in any process. May remember
        what it rendered before, to do less work for a graph that shares parts with the last one.

        Raises:
            RenderError: The graph cannot be expressed; what is served stays.
        """

    def limit(self, route: Route) -> RouteLimit | None:
        """Why the proxy cannot hold *route* as it is, its policies aside; ``None`` where it can.

        Asked once for each route, again when its host has changed. By default a proxy holds any route.
        """
        del route
        return None

    def can_match(self, route: Route) -> bool:
        """Whether the proxy can tell which requests *route* takes."""
        if route.selection and not self.matches_variants:
            return False
        if route.match.kind is not PathKind.REGEX:
            return True
        return self.matches_patterns and (self.limits_matching or is_portable(route.match.value))

    def restrict(self, graph: RouteGraph) -> Restricted:
        """*graph* as this renderer can serve it: fail closed, say so, and leave the rest untouched.

        What `handlers` cannot honour of a policy is reported; where it closes, the route responds 503, or
        all routes to the backend. The policies of a host stand in its routes afterwards; those of the handshake
        stand with the host too. A route that it
        cannot match (`can_match`) is reported and left out; where that could open what is protected, its
        paths respond 503.
        A route that has a `limit` is reported, and responds 503 or is left out. A backend whose protocol
        is not in `protocols` is reported and has no endpoints.

        What is the same object as in the graph before costs next to nothing, and stays the same object.

        Returns:
            The graph, itself when nothing had to change, and a diagnostic for each loss, sorted.
        """
        judged = self._judged
        if judged is None:
            judged = self._judged = JudgedGraph(self._restricted_host, self._restricted_backend)
        restricted = judged.follow(graph)
        if not graph.ports or self.takes_ports:
            return restricted
        lost = (self._lost_port(port, stream) for port, stream in graph.ports.items())
        return replace(restricted, diagnostics=bounded([*restricted.diagnostics, *lost]))

    def _lost_port(self, port: int, stream: StreamRoute) -> Diagnostic:
        return Diagnostic(
            subject=stream.origin.subject,
            field=stream.origin.field,
            reason=Reason.POLICY_UNSUPPORTED,
            message=f"the {self.name} renderer takes no further ports without a delegate: {port} is not served",
        )

    def _restricted_host(self, host: VirtualHost) -> Judged[VirtualHost]:
        given = host
        diagnostics: list[Diagnostic] = []
        if host.stream is not None and not self.passes_tls:
            host = self._without_stream(host, host.stream, diagnostics)
        matched, lost = matchable(host, self.can_match, self.name)
        diagnostics += lost
        # The paths of an Ingress share their policies, and may be ten thousand.
        judgements: dict[PolicySet, Judgement] = {}
        routes: list[Route] = []
        for route in matched.routes:
            kept = self._within_limits(route, diagnostics)
            if kept is None:
                continue
            if route.policies or host.policies:
                judgement = judgements.get(route.policies)
                if judgement is None:
                    judgement = self.handlers.judge(host.policies_of(route), delegate=self.delegate)
                    judgements[route.policies] = judgement
                kept = self._honoured(kept, judgement, host.policies_of(route), diagnostics)
            routes.append(kept)
        handshake = host.policies.of_handshake()
        if (
            handshake is host.policies
            and len(routes) == len(host.routes)
            and all(map(operator.is_, routes, host.routes))
        ):
            return Judged(given, host, tuple(diagnostics))
        return Judged(given, replace(host, routes=tuple(routes), policies=handshake), tuple(diagnostics))

    def _without_stream(
        self, host: VirtualHost, stream: StreamRoute, diagnostics: list[Diagnostic]
    ) -> VirtualHost:
        """*host* closed, as TLS connections for it cannot be passed on."""
        message = f"the {self.name} renderer {self.no_passthrough}"
        diagnostics.append(
            Diagnostic(
                subject=stream.origin.subject,
                field=stream.origin.field,
                reason=Reason.POLICY_UNSUPPORTED,
                message=f"{message}; the routes of the host {host.host} respond 503",
            )
        )
        closed = Respond(status=503, reason=Reason.POLICY_UNSUPPORTED, message=message)
        routes = (route if solves_http01(route) else replace(route, action=closed) for route in host.routes)
        return replace(host, routes=tuple(routes), stream=None)

    def _within_limits(self, route: Route, diagnostics: list[Diagnostic]) -> Route | None:
        limit = self.limit(route)
        if limit is None:
            return route
        message = f"the {self.name} renderer {limit.message}"
        effect = "it is not served" if limit.drops else "the route responds 503"
        diagnostics.append(
            Diagnostic(
                subject=route.origin.subject,
                field=route.origin.field,
                reason=limit.reason,
                message=f"{message}; {effect}",
                severity=Severity.ERROR,
            )
        )
        if limit.drops:
            return None
        return replace(route, action=Respond(status=503, reason=limit.reason, message=message))

    def _honoured(
        self, route: Route, judgement: Judgement, asked: PolicySet, diagnostics: list[Diagnostic]
    ) -> Route:
        """*route* as `handlers` can honour the policies *asked* for."""
        action = route.action
        for message, closes in self._report(judgement, asked, route.origin, diagnostics):
            if closes and not isinstance(action, Respond):
                action = Respond(status=503, reason=Reason.POLICY_UNSUPPORTED, message=message)
        if action is route.action and judgement.policies is route.policies:
            return route
        return replace(route, action=action, policies=judgement.policies)

    def _report(
        self,
        judgement: Judgement,
        asked: PolicySet,
        place: Origin,
        diagnostics: list[Diagnostic],
        closed: str = "the route responds 503",
    ) -> Iterator[tuple[str, bool]]:
        """Report the losses where the policies were asked for, else at *place*; each, and whether it closes."""
        for kind, loss in judgement.losses:
            closes = kind.protects if loss.closes is None else loss.closes
            message = f"the {self.name} renderer {loss.message}"
            effect = closed if closes else loss.effect
            severity = loss.severity or (Severity.ERROR if closes else Severity.WARNING)
            origins = asked.origins(kind)
            places = [origins[loss.field]] if loss.field in origins else list(dict.fromkeys(origins.values()))
            diagnostics += (
                Diagnostic(
                    subject=origin.subject,
                    field=origin.field,
                    reason=Reason.POLICY_UNSUPPORTED,
                    message=f"{message}; {effect}",
                    severity=severity,
                )
                for origin in places or [place]
            )
            yield message, closes

    def _restricted_backend(self, backend: Backend) -> Judged[Backend]:
        service = ObjectRef(Service.kind, ObjectKey(backend.key.namespace, backend.key.service))
        if backend.protocol not in self.protocols:
            note = f"the {self.name} renderer does not support {backend.protocol}"
            if missing := self.unspoken.get(backend.protocol):
                note = f"{note} {missing}"
            if backend.protocol is Protocol.TCP:
                # Of streams only, each of which is reported by itself.
                return Judged(backend, replace(backend, endpoints=(), note=note), ())
            lost = Diagnostic(
                subject=service,
                field=f"{backend.place}.appProtocol" if backend.place else "",
                reason=Reason.PROTOCOL_UNSUPPORTED,
                message=f"{note}; its routes respond 503",
            )
            return Judged(backend, replace(backend, endpoints=(), note=note), (lost,))
        diagnostics: list[Diagnostic] = []
        restricted = self._without_names(backend, service, diagnostics)
        if backend.policies:
            judgement = self.handlers.judge(backend.policies, delegate=self.delegate)
            # A handler for routes does not look at backends.
            strays = tuple(
                (type(item), Loss(message=f"does not support {type(item).__name__} for a backend"))
                for item in backend.policies
                if item.scope is not PolicyScope.BACKEND and type(item) in self.handlers
            )
            judgement = replace(judgement, losses=(*judgement.losses, *strays))
            place = Origin(service, backend.place)
            effect = "its routes respond 503"
            for message, closes in self._report(judgement, backend.policies, place, diagnostics, effect):
                if closes:
                    restricted = replace(restricted, endpoints=(), note=message)
            if judgement.policies is not backend.policies:
                restricted = replace(restricted, policies=judgement.policies)
        return Judged(backend, restricted, tuple(diagnostics))

    def _without_names(self, backend: Backend, service: ObjectRef, diagnostics: list[Diagnostic]) -> Backend:
        if self.looks_names_up:
            return backend
        kept = tuple(item for item in backend.endpoints if is_address(item.address))
        if len(kept) == len(backend.endpoints):
            return backend
        name = next(item.address for item in backend.endpoints if not is_address(item.address))
        note = f"the {self.name} renderer does not support ExternalName Services (the host name {name})"
        diagnostics.append(
            Diagnostic(
                subject=service,
                field="spec.externalName",
                reason=Reason.EXTERNAL_NAME_REFUSED,
                message=f"{note}; its routes respond 503",
            )
        )
        return replace(backend, endpoints=kept, note="" if kept else note)
