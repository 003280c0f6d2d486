"""What changed between two graphs, plane by plane. Cheap: shared parts are compared by identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ingresskit.graph.graph import RouteGraph
from ingresskit.graph.nodes import BackendKey
from ingresskit.models import ObjectKey

__all__ = ["Changes", "GraphDiff", "diff"]

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes(Generic[K]):
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
        settings: The default certificate or host fall-through changed.
    """

    hosts: Changes[str] = Changes()
    backends: Changes[BackendKey] = Changes()
    certificates: Changes[ObjectKey] = Changes()
    server_names: Changes[str] = Changes()
    settings: bool = False

    def __bool__(self) -> bool:
        return bool(self.hosts or self.backends or self.certificates or self.server_names or self.settings)

    @property
    def endpoints_only(self) -> bool:
        """Whether nothing changed but the endpoints of backends that were there before."""
        others = self.hosts or self.certificates or self.server_names or self.settings
        return bool(self.backends.changed) and len(self.backends) == len(self.backends.changed) and not others


def diff(old: RouteGraph, new: RouteGraph) -> GraphDiff:
    """What is different in *new*."""
    if old is new:
        return GraphDiff()
    old_hosts = {host.host: host for host in old.virtual_hosts}
    new_hosts = {host.host: host for host in new.virtual_hosts}
    return GraphDiff(
        hosts=_changes(old_hosts, new_hosts),
        backends=_changes(old.backends, new.backends),
        certificates=_changes(old.certificates, new.certificates),
        server_names=_changes(old.server_names, new.server_names),
        settings=(old.default_certificate, old.host_fallthrough, old.paths)
        != (new.default_certificate, new.host_fallthrough, new.paths),
    )


def _changes(old: Mapping[K, object], new: Mapping[K, object]) -> Changes[K]:
    if old is new:
        return Changes()
    added = [key for key in new if key not in old]
    removed = [key for key in old if key not in new]
    changed = [key for key, item in new.items() if key in old and old[key] is not item and old[key] != item]
    return Changes(added=_sorted(added), removed=_sorted(removed), changed=_sorted(changed))


def _sorted(keys: list[K]) -> tuple[K, ...]:
    return tuple(sorted(keys, key=_text))


def _text(key: object) -> str:
    return key if isinstance(key, str) else str(key)
