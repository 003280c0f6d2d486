"""What a renderer is: the class to subclass for a proxy of your own."""

from __future__ import annotations

import hashlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import ClassVar, Generic, NamedTuple, Never, TypeVar

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.graph import (
    Backend,
    BackendKey,
    GraphKeys,
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
from ingresskit.render.matching import matchable
from ingresskit.render.policies import HandlerTable, Judgement, Loss, PolicyHandler
from ingresskit.render.remember import Remembered

__all__ = ["ArtifactT", "RenderedFile", "Renderer", "Rendering", "Restricted", "RouteLimit"]

ArtifactT = TypeVar("ArtifactT")
KeyT = TypeVar("KeyT", bound=Hashable)
NodeT = TypeVar("NodeT")


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file of a `Rendering`.

    Attributes:
        path: Relative, without ``..``.
        content: Its bytes; not in the ``repr``.
        secret: Whether it holds key material: it is written with mode 0600 and never shown.
        mask: Makes *content* fit to be shown where it holds values of header fields that policies set,
            which may be credentials; ``None`` where the content may be shown as it is.

    Raises:
        ConfigurationError: *path* is absolute, empty, or has a ``..`` element or a control character.
    """

    path: PurePosixPath
    content: bytes = field(repr=False)
    secret: bool = False
    mask: Callable[[bytes], bytes] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = str(self.path)
        if self.path.is_absolute() or ".." in self.path.parts or text == "." or not text.isprintable():
            raise ConfigurationError(f"{text!r} is not a relative path inside a rendering")

    @property
    def shown(self) -> bytes | None:
        """The content as it may be shown to people; ``None`` for a secret file."""
        if self.secret:
            return None
        return self.content if self.mask is None else self.mask(self.content)

    @classmethod
    def text(cls, path: str, content: str) -> RenderedFile:
        """A file of text, in UTF-8."""
        return cls(PurePosixPath(path), content.encode())

    @classmethod
    def of(
        cls, path: str, content: bytes, *, secret: bool = False, mask: Callable[[bytes], bytes] | None = None
    ) -> RenderedFile:
        """A file of bytes."""
        return cls(PurePosixPath(path), content, secret, mask)


@dataclass(frozen=True, slots=True)
class Rendering:
    """The artifact of most renderers: files.

    Attributes:
        files: Sorted by path; each path once.

    Raises:
        ConfigurationError: Two files have the same path.
    """

    files: tuple[RenderedFile, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda item: item.path)))
        paths = [item.path for item in self.files]
        if len(set(paths)) < len(paths):
            raise ConfigurationError("a rendering has the same path twice")

    @property
    def digest(self) -> str:
        """SHA-256 over paths and contents, lower-case hexadecimal."""
        total = hashlib.sha256()
        for item in self.files:
            total.update(f"{item.path}\0{len(item.content)}\0".encode())
            total.update(item.content)
        return total.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """A graph reduced to what a renderer can honour, and what that costs whom."""

    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...] = ()


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


class _Judged(NamedTuple, Generic[NodeT]):
    """What a part of a graph was restricted to, and the diagnostics for that."""

    given: NodeT
    restricted: NodeT
    diagnostics: tuple[Diagnostic, ...]


_RESTRICTED = operator.attrgetter("restricted")


class _JudgedGraph:
    """What one graph after another was restricted to. Looks at what changed only, where the graphs tell.

    Args:
        host: Restricts a virtual host.
        backend: Restricts a backend.
    """

    def __init__(
        self,
        host: Callable[[VirtualHost], _Judged[VirtualHost]],
        backend: Callable[[Backend], _Judged[Backend]],
    ) -> None:
        self._hosts = Remembered[str, VirtualHost, _Judged[VirtualHost]](host)
        self._backends = Remembered[BackendKey, Backend, _Judged[Backend]](backend)
        self._altered_hosts: set[str] = set()
        self._altered_backends: set[BackendKey] = set()
        self._notes: Ledger[ObjectRef, Diagnostic] = Ledger(_subject, bounded)
        self._given: RouteGraph | None = None
        self._restricted = RouteGraph()
        self._made: RouteGraph | None = None

    def follow(self, graph: RouteGraph) -> Restricted:
        """*graph* with what this makes of its parts."""
        keys = None if self._given is None else graph.changed_since(self._given)
        hosts = self._hosts.follow(graph.by_host, None if keys is None else keys.hosts)
        self._note(self._hosts, hosts, self._altered_hosts)
        backends = self._backends.follow(graph.backends, None if keys is None else keys.backends)
        self._note(self._backends, backends, self._altered_backends)
        if not self._altered_hosts and not self._altered_backends:
            self._made, self._restricted = None, graph
        elif graph is not self._given:
            # A line of its own: of one number, this graph and the one it was given are not the same.
            before = self._made if keys is not None else None
            self._made = self._restricted = replace(
                graph,
                virtual_hosts=self._hosts_of(graph, hosts),
                backends=self._backends_of(graph, backends),
                after=(before, GraphKeys() if keys is None else keys),
            )
        self._given = graph
        return Restricted(graph=self._restricted, diagnostics=self._notes.all())

    # Both run no Python per host or backend: ten thousand take about a millisecond.
    def _hosts_of(
        self, graph: RouteGraph, judged: Mapping[str, _Judged[VirtualHost]]
    ) -> tuple[VirtualHost, ...]:
        return tuple(map(_RESTRICTED, judged.values())) if self._altered_hosts else graph.virtual_hosts

    def _backends_of(
        self, graph: RouteGraph, judged: Mapping[BackendKey, _Judged[Backend]]
    ) -> Mapping[BackendKey, Backend]:
        if not self._altered_backends:
            return graph.backends
        return dict(zip(judged, map(_RESTRICTED, judged.values()), strict=True))

    def _note(
        self,
        remembered: Remembered[KeyT, NodeT, _Judged[NodeT]],
        judged: Mapping[KeyT, _Judged[NodeT]],
        altered: set[KeyT],
    ) -> None:
        for key in remembered.gone:
            altered.discard(key)
            self._notes.put(key)
        for key in remembered.changed:
            item = judged[key]
            self._notes.put(key, item.diagnostics)
            if item.restricted is item.given:
                altered.discard(key)
            else:
                altered.add(key)


def _subject(note: Diagnostic) -> ObjectRef:
    return note.subject


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
    _judged: _JudgedGraph | None = None

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
            judged = self._judged = _JudgedGraph(self._restricted_host, self._restricted_backend)
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

    def _restricted_host(self, host: VirtualHost) -> _Judged[VirtualHost]:
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
            return _Judged(given, host, tuple(diagnostics))
        return _Judged(given, replace(host, routes=tuple(routes), policies=handshake), tuple(diagnostics))

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

    def _restricted_backend(self, backend: Backend) -> _Judged[Backend]:
        service = ObjectRef(Service.kind, ObjectKey(backend.key.namespace, backend.key.service))
        if backend.protocol not in self.protocols:
            note = f"the {self.name} renderer does not support {backend.protocol}"
            if backend.protocol is Protocol.TCP:
                # Of streams only, each of which is reported by itself.
                return _Judged(backend, replace(backend, endpoints=(), note=note), ())
            lost = Diagnostic(
                subject=service,
                field=f"{backend.place}.appProtocol" if backend.place else "",
                reason=Reason.PROTOCOL_UNSUPPORTED,
                message=f"{note}; its routes respond 503",
            )
            return _Judged(backend, replace(backend, endpoints=(), note=note), (lost,))
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
        return _Judged(backend, restricted, tuple(diagnostics))

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
