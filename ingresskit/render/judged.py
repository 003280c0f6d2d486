"""What graphs are reduced to for a renderer, part by part, and what of that is known from the graph before."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic, bounded
from ingresskit.graph import Backend, BackendKey, GraphKeys, RouteGraph, VirtualHost
from ingresskit.models import ObjectRef
from ingresskit.render.remember import Remembered

__all__ = ["Judged", "JudgedGraph", "Restricted"]

KeyT = TypeVar("KeyT", bound=Hashable)
NodeT = TypeVar("NodeT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """A graph reduced to what a renderer can honour, and what that costs whom."""

    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...] = ()


class Judged(NamedTuple, Generic[NodeT]):
    """What a part of a graph was restricted to.

    Attributes:
        given: The part as the graph has it.
        restricted: What is left of it; the same object where nothing had to change.
        diagnostics: For what was lost.
    """

    given: NodeT
    restricted: NodeT
    diagnostics: tuple[Diagnostic, ...]


_RESTRICTED = operator.attrgetter("restricted")


class JudgedGraph:
    """What one graph after another was restricted to. Looks at what changed only, where the graphs tell.

    Args:
        host: Restricts a virtual host.
        backend: Restricts a backend.
    """

    def __init__(
        self,
        host: Callable[[VirtualHost], Judged[VirtualHost]],
        backend: Callable[[Backend], Judged[Backend]],
    ) -> None:
        self._hosts = Remembered[str, VirtualHost, Judged[VirtualHost]](host)
        self._backends = Remembered[BackendKey, Backend, Judged[Backend]](backend)
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
        self, graph: RouteGraph, judged: Mapping[str, Judged[VirtualHost]]
    ) -> tuple[VirtualHost, ...]:
        return tuple(map(_RESTRICTED, judged.values())) if self._altered_hosts else graph.virtual_hosts

    def _backends_of(
        self, graph: RouteGraph, judged: Mapping[BackendKey, Judged[Backend]]
    ) -> Mapping[BackendKey, Backend]:
        if not self._altered_backends:
            return graph.backends
        return dict(zip(judged, map(_RESTRICTED, judged.values()), strict=True))

    def _note(
        self,
        remembered: Remembered[KeyT, NodeT, Judged[NodeT]],
        judged: Mapping[KeyT, Judged[NodeT]],
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
