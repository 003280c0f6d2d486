"""What a renderer is: the class to subclass for a proxy of your own."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import ClassVar, Generic, NamedTuple, TypeVar

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, Protocol, Respond, Route, RouteGraph, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef, Service
from ingresskit.policies import Policy

__all__ = ["ArtifactT", "RenderedFile", "Renderer", "Rendering", "Restricted"]

ArtifactT = TypeVar("ArtifactT")
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


class _Known(NamedTuple, Generic[NodeT]):
    """What a part of a graph was restricted to, and what that costs whom."""

    given: NodeT
    restricted: NodeT
    diagnostics: list[Diagnostic]


class Renderer(ABC, Generic[ArtifactT]):
    """Turns a route graph into what one proxy needs to serve it.

    Subclass it, say in `supports` which policies the proxy honours, and write `render`. Whoever runs
    a renderer passes the graph through `restrict` first, so that `render` never sees a protection
    that it cannot give.
    """

    name: ClassVar[str]
    """A short word for it, as on a command line: ``"nginx"``."""
    supports: ClassVar[frozenset[type[Policy]]] = frozenset()
    """The policies it honours. Every other policy of a route is reported to the route's author."""
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP})
    """What it can speak to endpoints. A backend with another protocol is served as having none."""
    # What `restrict` made of the graph before; replaced, never changed.
    _known_tuple: _Known[tuple[VirtualHost, ...]] = _Known((), (), [])
    _known_hosts: Mapping[str, _Known[VirtualHost]] = MappingProxyType({})
    _known_backends: Mapping[BackendKey, _Known[Backend]] = MappingProxyType({})

    @abstractmethod
    def render(self, graph: RouteGraph) -> ArtifactT:
        """The artifact for *graph*.

        Pure: the same graph gives an equal artifact, byte for byte, in any process. May remember
        what it rendered before, to do less work for a graph that shares parts with the last one.

        Raises:
            RenderError: The graph cannot be expressed; what is served stays.
        """

    def restrict(self, graph: RouteGraph) -> Restricted:
        """*graph* as this renderer can serve it: fail closed, say so, and leave the rest untouched.

        A policy that is not in `supports` is reported; if it protects its route, the route responds 503.
        A backend whose protocol is not in `protocols` is reported and has no endpoints.

        What is the same object as in the graph before costs next to nothing, and stays the same object.

        Returns:
            The graph, itself when nothing had to change, and a diagnostic for each loss, sorted.
        """
        diagnostics: list[Diagnostic] = []
        hosts = self._restricted_hosts(graph.virtual_hosts, diagnostics)
        backends = self._restricted_backends(graph.backends, diagnostics)
        changed = any(new is not old for new, old in zip(hosts, graph.virtual_hosts, strict=True))
        if changed or any(backends[key] is not graph.backends[key] for key in backends):
            graph = replace(graph, virtual_hosts=hosts, backends=backends)
        return Restricted(graph=graph, diagnostics=bounded(diagnostics))

    def _restricted_hosts(
        self, hosts: tuple[VirtualHost, ...], diagnostics: list[Diagnostic]
    ) -> tuple[VirtualHost, ...]:
        given, restricted, losses = self._known_tuple
        if given is hosts:
            diagnostics += losses
            return restricted
        losses = list[Diagnostic]()
        before, known = self._known_hosts, dict[str, _Known[VirtualHost]]()
        for host in hosts:
            item = before.get(host.host)
            if item is None or item.given is not host:
                found: list[Diagnostic] = []
                item = _Known(host, self._restricted_host(host, found), found)
            known[host.host] = item
            if item.diagnostics:
                losses += item.diagnostics
        self._known_hosts = known
        restricted = tuple([item.restricted for item in known.values()])
        self._known_tuple = _Known(hosts, restricted, losses)
        diagnostics += losses
        return restricted

    def _restricted_backends(
        self, backends: Mapping[BackendKey, Backend], diagnostics: list[Diagnostic]
    ) -> Mapping[BackendKey, Backend]:
        before, known = self._known_backends, dict[BackendKey, _Known[Backend]]()
        for key, backend in backends.items():
            item = before.get(key)
            if item is None or item.given is not backend:
                found: list[Diagnostic] = []
                item = _Known(backend, self._restricted_backend(backend, found), found)
            known[key] = item
            if item.diagnostics:
                diagnostics += item.diagnostics
        self._known_backends = known
        return {key: item.restricted for key, item in known.items()}

    def _restricted_host(self, host: VirtualHost, diagnostics: list[Diagnostic]) -> VirtualHost:
        routes = tuple(
            self._restricted_route(route, diagnostics) if route.policies else route for route in host.routes
        )
        unchanged = all(new is old for new, old in zip(routes, host.routes, strict=True))
        return host if unchanged else replace(host, routes=routes)

    def _restricted_route(self, route: Route, diagnostics: list[Diagnostic]) -> Route:
        for policy in route.policies:
            kind = type(policy)
            if kind in self.supports:
                continue
            for origin in dict.fromkeys(route.policies.origins(kind).values()) or [route.origin]:
                effect = "the route responds 503" if kind.protects else "it is ignored"
                diagnostics.append(
                    Diagnostic(
                        subject=origin.subject,
                        field=origin.field,
                        reason=Reason.POLICY_UNSUPPORTED,
                        message=f"the {self.name} renderer does not support {kind.__name__}; {effect}",
                        severity=Severity.ERROR if kind.protects else Severity.WARNING,
                    )
                )
            if kind.protects and not isinstance(route.action, Respond):
                message = f"the {self.name} renderer does not support {kind.__name__}"
                action = Respond(status=503, reason=Reason.POLICY_UNSUPPORTED, message=message)
                route = replace(route, action=action)
        return route

    def _restricted_backend(self, backend: Backend, diagnostics: list[Diagnostic]) -> Backend:
        if backend.protocol in self.protocols:
            return backend
        note = f"the {self.name} renderer does not support {backend.protocol}"
        namespace, service, _ = backend.key
        diagnostics.append(
            Diagnostic(
                subject=ObjectRef(Service.kind, ObjectKey(namespace, service)),
                field=f"{backend.place}.appProtocol" if backend.place else "",
                reason=Reason.PROTOCOL_UNSUPPORTED,
                message=f"{note}; its routes respond 503",
            )
        )
        return replace(backend, endpoints=(), note=note)
