"""What changed between two graphs, plane by plane.

Of two graphs that one translator made, only what changed between them is looked at. Of others everything is,
though parts that they share cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.nodes import BackendKey
from ingresskit.models import ObjectKey

__all__ = ["GraphChanges", "GraphDiff", "diff"]

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChanges(Generic[K]):
    """Which members of one plane changed; each tuple is sorted, no member is in two."""

    added: tuple[K, ...] = ()
    removed: tuple[K, ...] = ()
    changed: tuple[K, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDiff:
    """What changed between two graphs.

    Attributes:
        hosts: Virtual hosts (their routes, policies, TLS switch), by host.
        backends: Endpoints and protocols, by `BackendKey`.
        certificates: By Secret.
        server_names: TLS server names that are new, gone, or served by another certificate.
        ports: Further ports.
        settings: The default certificate or host fall-through changed.
    """

    hosts: GraphChanges[str] = GraphChanges()
    backends: GraphChanges[BackendKey] = GraphChanges()
    certificates: GraphChanges[ObjectKey] = GraphChanges()
    server_names: GraphChanges[str] = GraphChanges()
    ports: GraphChanges[int] = GraphChanges()
    settings: bool = False

    def __bool__(self) -> bool:
        planes = self.hosts or self.backends or self.certificates or self.server_names or self.ports
        return bool(planes or self.settings)

    @property
    def endpoints_only(self) -> bool:
        """Whether nothing changed but the endpoints of backends that were there before."""
        others = self.hosts or self.certificates or self.server_names or self.ports or self.settings
        return bool(self.backends.changed) and len(self.backends) == len(self.backends.changed) and not others


def diff(old: RouteGraph, new: RouteGraph) -> GraphDiff:
    """What is different in *new*."""
    if old is new:
        return GraphDiff()
    settings = (old.default_certificate, old.host_fallthrough, old.paths) != (
        new.default_certificate,
        new.host_fallthrough,
        new.paths,
    )
    if (keys := new.changed_since(old)) is not None:
        return GraphDiff(
            hosts=_changes(keys.hosts, old.virtual_host, new.virtual_host),
            backends=_changes(keys.backends, old.backends.get, new.backends.get),
            certificates=_changes(keys.certificates, old.certificates.get, new.certificates.get),
            server_names=_changes(keys.server_names, _served(old), _served(new)),
            ports=_compared(old.ports, new.ports),
            settings=settings,
        )
    old_hosts = {host.host: host for host in old.virtual_hosts}
    new_hosts = {host.host: host for host in new.virtual_hosts}
    return GraphDiff(
        hosts=_changes(old_hosts | new_hosts, old_hosts.get, new_hosts.get),
        backends=_compared(old.backends, new.backends),
        certificates=_compared(old.certificates, new.certificates),
        server_names=_changes({**old.server_names, **new.server_names}, _served(old), _served(new)),
        ports=_compared(old.ports, new.ports),
        settings=settings,
    )


def _served(graph: RouteGraph) -> Callable[[str], object | None]:
    """What a server name is served with, ``None`` when it is none; the default certificate is something."""
    names = graph.server_names
    return lambda name: (names[name],) if name in names else None


def _compared(old: Mapping[K, object], new: Mapping[K, object]) -> GraphChanges[K]:
    return GraphChanges() if old is new else _changes({**old, **new}, old.get, new.get)


def _changes(
    keys: Iterable[K], old: Callable[[K], object | None], new: Callable[[K], object | None]
) -> GraphChanges[K]:
    """The *keys* for which the two look-ups differ; ``None`` stands for what is not there."""
    added: list[K] = []
    removed: list[K] = []
    changed: list[K] = []
    for key in keys:
        before, after = old(key), new(key)
        if before is after:
            continue
        if before is None:
            added.append(key)
        elif after is None:
            removed.append(key)
        elif before != after:
            changed.append(key)
    return GraphChanges(added=_sorted(added), removed=_sorted(removed), changed=_sorted(changed))


def _sorted(keys: list[K]) -> tuple[K, ...]:
    return tuple(sorted(keys, key=_text))


def _text(key: object) -> str:
    return key if isinstance(key, str) else str(key)
