"""Divides a graph into that of a program and that of the delegate beside it, from one graph to the next.

A host that changes costs what it has: of others, pointers are copied by calls that run no Python for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, compress
from operator import attrgetter
from typing import Final, NamedTuple, assert_never, cast

from ingresskit.diagnostics import Diagnostic
from ingresskit.graph import (
    Backend,
    BackendKey,
    Forward,
    GraphKeys,
    Protocol,
    Redirect,
    Respond,
    Route,
    RouteGraph,
    VirtualHost,
)
from ingresskit.render.counted import CountedMap
from ingresskit.render.delegate.handover import DELEGATE
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.judged import Restricted
from ingresskit.render.remember import Remembered

__all__ = ["Beyond", "Divided", "Division", "HostSplit", "WholeHosts", "backend_keys", "keys_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSplit:
    """A virtual host, divided.

    Attributes:
        front: As the front gets it; the host itself when nothing is handed over.
        handed_over: As the delegate gets it; ``None``: it gets none of its routes.
        whole: The delegate gets all of it, and finds the routes by itself.
        diagnostics: For routes that neither can serve.
    """

    front: VirtualHost
    handed_over: VirtualHost | None = None
    whole: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()


class Divided(NamedTuple):
    """A graph, divided; *rest* is for the delegate."""

    front: RouteGraph
    rest: RouteGraph | None = None
    whole_hosts: frozenset[str] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()


_FRONT: Final = cast("Callable[[HostSplit], VirtualHost]", attrgetter("front"))
_HANDED_OVER: Final = cast("Callable[[HostSplit], VirtualHost | None]", attrgetter("handed_over"))
_HOST: Final = cast("Callable[[VirtualHost], str]", attrgetter("host"))


class Beyond:
    """The backends of one graph after another whose endpoints the delegate cannot speak to.

    Args:
        loses_trailers: The front loses them on the way to the delegate: then gRPC is beyond it.
    """

    def __init__(self, *, loses_trailers: bool = False) -> None:
        spoken = InProcessRenderer.protocols
        grpc = frozenset(item for item in Protocol if item.is_grpc)
        self._spoken: frozenset[Protocol] = spoken - grpc if loses_trailers else spoken
        self.keys: frozenset[BackendKey] = frozenset()

    def follow(self, backends: Mapping[BackendKey, Backend], changed: Iterable[BackendKey] | None) -> bool:
        """Look at *changed*, ``None`` for all of *backends*; whether the keys are others now."""
        looked_at = frozenset(backends if changed is None else changed)
        kept = self.keys - looked_at if changed is not None else frozenset[BackendKey]()
        spoken = self._spoken
        found = (key for key in looked_at if (item := backends.get(key)) and item.protocol not in spoken)
        before, self.keys = self.keys, kept.union(found)
        return before != self.keys


class WholeHosts:
    """Takes out of one graph after another the hosts that a front cannot match, for the delegate.

    Args:
        can_match: Whether the front can match all routes of a host.
        loses_trailers: As for `Beyond`.
    """

    def __init__(self, can_match: Callable[[VirtualHost], bool], *, loses_trailers: bool = False) -> None:
        self._can_match = can_match
        self._beyond = Beyond(loses_trailers=loses_trailers)
        self._stays: Remembered[str, VirtualHost, bool] = Remembered(self._does_stay)
        self._given: RouteGraph | None = None
        self._reduced: RouteGraph | None = None
        self._joined: RouteGraph | None = None

    def restrict(self, graph: RouteGraph, restrict: Callable[[RouteGraph], Restricted]) -> Restricted:
        """*graph* with all but those hosts as *restrict* makes it."""
        if graph.host_fallthrough:
            return restrict(graph)
        keys = None if self._given is None else graph.changed_since(self._given)
        if self._beyond.follow(graph.backends, None if keys is None else keys.backends):
            keys, self._stays = None, Remembered(self._does_stay)
        stays = self._stays.follow(graph.by_host, None if keys is None else keys.hosts)
        self._given = graph
        if all(stays.values()):
            self._reduced = self._joined = None
            return restrict(graph)
        step = GraphKeys() if keys is None else keys
        hosts = dict(compress(graph.by_host.items(), stays.values()))
        reduced = replace(
            graph,
            virtual_hosts=tuple(hosts.values()),
            hosts=hosts,
            after=(None if keys is None else self._reduced, step),
        )
        restricted = restrict(reduced)
        every = {**graph.by_host, **restricted.graph.by_host}
        joined = replace(
            restricted.graph,
            virtual_hosts=tuple(every.values()),
            hosts=every,
            after=(None if keys is None else self._joined, step),
        )
        self._reduced, self._joined = reduced, joined
        return replace(restricted, graph=joined)

    def _does_stay(self, host: VirtualHost) -> bool:
        # Whether TLS ends here is the front's to say, also of a host that it cannot match.
        return (
            self._can_match(host) or host.stream is not None or not self._beyond.keys.isdisjoint(keys_of(host))
        )


class Division:
    """Divides one graph after another.

    Args:
        split: Divides a host. It depends on the host, on `beyond` and on `fallthrough` alone, and on the
            policies of its `backends`, which their keys determine.
        delegate: The backend that stands for the delegate.
        loses_trailers: As for `Beyond`.

    Attributes:
        beyond: The backends that the delegate cannot speak to.
        fallthrough: As `RouteGraph.host_fallthrough`.
        backends: As `RouteGraph.backends`.
    """

    def __init__(
        self,
        split: Callable[[VirtualHost], HostSplit],
        delegate: Backend,
        *,
        loses_trailers: bool = False,
    ) -> None:
        self._split = split
        self._delegate = delegate
        self._beyond = Beyond(loses_trailers=loses_trailers)
        self.fallthrough: bool = False
        self.backends: Mapping[BackendKey, Backend] = {}
        self._given: RouteGraph | None = None
        self._divided = Divided(RouteGraph())
        self._begin()

    @property
    def beyond(self) -> frozenset[BackendKey]:
        """The backends whose endpoints speak what the delegate does not."""
        return self._beyond.keys

    def _begin(self) -> None:
        self._splits: Remembered[str, VirtualHost, HostSplit] = Remembered(self._split)
        self._held: dict[str, HostSplit] = {}
        self._front_keys = CountedMap[BackendKey, None]()
        self._rest_keys = CountedMap[BackendKey, None]()
        self._handed_over: set[str] = set()
        self._whole: set[str] = set()
        self._lost: set[str] = set()

    def follow(self, graph: RouteGraph) -> Divided:
        """*graph*, divided; the graph itself for the front when nothing is handed over."""
        if graph is self._given:
            return self._divided
        keys = None if self._given is None else graph.changed_since(self._given)
        changed = self._beyond.follow(graph.backends, None if keys is None else keys.backends)
        if changed or graph.host_fallthrough != self.fallthrough:
            self.fallthrough, keys = graph.host_fallthrough, None
            self._begin()
        self.backends = graph.backends
        splits = self._splits.follow(graph.by_host, None if keys is None else keys.hosts)
        for name in (*self._splits.changed, *self._splits.gone):
            self._replace(name, splits.get(name))
        self._given = graph
        if not self._handed_over and not self._lost:
            self._divided = Divided(graph)
        else:
            lost = chain.from_iterable(splits[name].diagnostics for name in sorted(self._lost))
            self._divided = Divided(
                self._front(graph, splits, keys),
                self._rest(graph, splits, keys) if self._handed_over else None,
                frozenset(self._whole),
                tuple(lost),
            )
        return self._divided

    def _replace(self, name: str, after: HostSplit | None) -> None:
        before = self._held.pop(name, None)
        self._front_keys.replace(_front_keys(before), _front_keys(after))
        self._rest_keys.replace(_rest_keys(before), _rest_keys(after))
        for where in (self._handed_over, self._whole, self._lost):
            where.discard(name)
        if after is None:
            return
        self._held[name] = after
        if after.handed_over is not None:
            self._handed_over.add(name)
        if after.whole:
            self._whole.add(name)
        if after.diagnostics:
            self._lost.add(name)

    def _front(self, graph: RouteGraph, splits: Mapping[str, HostSplit], keys: GraphKeys | None) -> RouteGraph:
        before, moved = self._divided.front, {DELEGATE, *self._front_keys.touched}
        used = self._front_keys.mapping()
        backends = dict(compress(graph.backends.items(), map(used.__contains__, graph.backends)))
        hosts = dict(zip(splits, map(_FRONT, splits.values()), strict=True))
        # Where nothing was handed over before, the front had a graph of another line.
        known = keys is not None and self._divided.rest is not None
        return replace(
            graph,
            virtual_hosts=tuple(hosts.values()),
            backends={DELEGATE: self._delegate, **backends} if self._handed_over else backends,
            hosts=hosts,
            after=(before if known else None, _step(keys, moved)),
        )

    def _rest(self, graph: RouteGraph, splits: Mapping[str, HostSplit], keys: GraphKeys | None) -> RouteGraph:
        before, moved = self._divided.rest, self._rest_keys.touched
        used = self._rest_keys.mapping()
        hosts = tuple(filter(None, map(_HANDED_OVER, splits.values())))
        # No certificates: it takes no TLS, and what it does not have it cannot lose.
        return RouteGraph(
            virtual_hosts=hosts,
            backends=dict(compress(graph.backends.items(), map(used.__contains__, graph.backends))),
            host_fallthrough=graph.host_fallthrough,
            paths=graph.paths,
            hosts=dict(zip(map(_HOST, hosts), hosts, strict=True)),
            after=(None if keys is None else before, _step(keys, moved)),
        )


def _step(keys: GraphKeys | None, moved: Iterable[BackendKey]) -> GraphKeys:
    return GraphKeys() if keys is None else keys._replace(backends=keys.backends.union(moved))


def _front_keys(split: HostSplit | None) -> Mapping[BackendKey, None]:
    return {} if split is None else dict.fromkeys(keys_of(split.front))


def _rest_keys(split: HostSplit | None) -> Mapping[BackendKey, None]:
    return {} if split is None or split.handed_over is None else dict.fromkeys(keys_of(split.handed_over))


def keys_of(host: VirtualHost) -> Iterable[BackendKey]:
    """The backends that the routes of *host*, and its connections, are forwarded to."""
    found = (key for route in host.routes for key in backend_keys(route))
    if host.stream is None or not isinstance(host.stream.action, Forward):
        return found
    return chain(found, host.stream.action.keys)


def backend_keys(route: Route) -> Iterable[BackendKey]:
    """The backends that *route* forwards to."""
    match route.action:
        case Forward():
            return route.action.keys
        case Redirect() | Respond():
            return ()
        case _:
            assert_never(route.action)
