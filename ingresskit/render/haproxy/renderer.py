"""From the route graph to the artifact for HAProxy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import ClassVar, Final, Never

from typing_extensions import override

from ingresskit.diagnostics import Reason
from ingresskit.graph import (
    Backend,
    BackendKey,
    Certificate,
    GraphKeys,
    Protocol,
    Redirect,
    Route,
    RouteGraph,
)
from ingresskit.models import ObjectKey
from ingresskit.render.base import Renderer, RouteLimit
from ingresskit.render.haproxy.artifact import (
    Bundle,
    HaproxyArtifact,
    Identity,
    Server,
    SlotBackend,
    SlotClass,
)
from ingresskit.render.haproxy.certificates import ServerNameLines, bundle_id, make_bundle
from ingresskit.render.haproxy.handshakes import HandshakesKeeper
from ingresskit.render.haproxy.policies import TABLE
from ingresskit.render.haproxy.routes import RoutesKeeper
from ingresskit.render.haproxy.servers import make_servers, shown_identity
from ingresskit.render.policies import HandlerTable, PolicyHandler
from ingresskit.render.remember import Remembered

__all__ = ["HaproxyRenderer"]

_ROW_TEXT: Final = re.compile(r"[\x21-\x7e]{1,4000}")


_ID: Final = attrgetter("id")


class HaproxyRenderer(Renderer[HaproxyArtifact]):
    """Makes artifacts for HAProxy. What did not change since the last graph costs next to nothing."""

    name: ClassVar[str] = "haproxy"
    handlers: HandlerTable[PolicyHandler[Never, Never]] = TABLE
    passes_tls: bool = True
    protocols: ClassVar[frozenset[Protocol]] = frozenset(Protocol)
    looks_names_up: ClassVar[bool] = False

    def __init__(self) -> None:
        self._keeper = RoutesKeeper()
        self._made_servers: Remembered[BackendKey, Backend, tuple[Server, ...]] = Remembered(make_servers)
        # By backend key the ids of its backends.
        self._names: dict[BackendKey, set[str]] = {}
        self._bundles: Remembered[ObjectKey, Certificate, Bundle] = Remembered(make_bundle)
        self._made_bundles: Mapping[ObjectKey, Bundle] = {}
        self._server_names = ServerNameLines()
        self._handshakes = HandshakesKeeper()
        # By backend id, and by digest.
        self._identities: dict[str, Identity] = {}
        self._shown: Mapping[str, Identity] = {}
        self._last = HaproxyArtifact()
        self._given: RouteGraph | None = None

    @override
    def render(self, graph: RouteGraph) -> HaproxyArtifact:
        last = self._last
        keys = None if self._given is None else graph.changed_since(self._given)
        servers = self._made_servers.follow(graph.backends, None if keys is None else keys.backends)
        moved = (*self._made_servers.changed, *self._made_servers.gone)
        routes = self._keeper
        routes.follow(graph.by_host, None if keys is None else keys.hosts, servers, moved, graph.backends)
        bundles = self._bundles.follow(graph.certificates, None if keys is None else keys.certificates)
        certificates = last.certificates
        if bundles is not self._made_bundles:
            self._made_bundles = bundles
            # One call that runs no Python per certificate.
            certificates = dict(zip(map(_ID, bundles.values()), bundles.values(), strict=True))
        named = self._handshakes.names
        handshakes = self._handshakes.follow(graph, self._hosts_to_ask(graph, keys))
        server_names, stale = graph.server_names, None if keys is None else keys.server_names
        if named or self._handshakes.names:
            # They are in lines of their own.
            others = self._handshakes.names
            server_names = {name: key for name, key in server_names.items() if name not in others}
            stale = None
        default = graph.default_certificate
        backends = self._backends(graph, servers)
        self._last = HaproxyArtifact(
            needs=routes.needs(
                host_fallthrough=graph.host_fallthrough, paths=graph.paths, handshakes=handshakes
            ),
            pointers=routes.pointers,
            blocks=routes.blocks,
            backends=backends,
            certificates=certificates,
            server_names=self._server_names.follow(server_names, stale),
            default_certificate=None if default is None else bundle_id(default),
            identities=self._shown,
        )
        self._given = graph
        return self._last

    def _hosts_to_ask(self, graph: RouteGraph, keys: GraphKeys | None) -> Collection[str] | None:
        """At least the hosts whose handshakes may be others; ``None``: all."""
        if keys is None:
            return None
        # Where lines are kept apart, they depend on the names of all others too.
        return graph.by_host if self._handshakes.names and (keys.hosts or keys.server_names) else keys.hosts

    def _backends(
        self, graph: RouteGraph, servers: Mapping[BackendKey, tuple[Server, ...]]
    ) -> Mapping[str, SlotBackend]:
        """The backends with their servers; the same object as before when they are the same objects."""
        known, now = self._last.backends, self._keeper.backends
        gone = [name for name in self._keeper.changed_backends if name not in now and name in known]
        for name in gone:
            key = known[name].key
            self._names[key].discard(name)
            if not self._names[key]:
                del self._names[key]
        stale = {name for name in self._keeper.changed_backends if name in now}
        for name in stale:
            self._names.setdefault(now[name][0], set()).add(name)
        for key in self._made_servers.changed:
            stale |= self._names.get(key, set())
        self._follow_identities(graph, (*gone, *stale))
        made = {name: self._backend(name, *now[name], servers) for name in stale}
        other = {name: item for name, item in made.items() if known.get(name) is not item}
        if not other and not gone:
            return known
        found = {**known, **other}
        for name in gone:
            del found[name]
        return found

    def _backend(
        self,
        name: str,
        key: BackendKey,
        slot_class: SlotClass,
        by_key: Mapping[BackendKey, tuple[Server, ...]],
    ) -> SlotBackend:
        servers = by_key[key]
        known = self._last.backends.get(name)
        # The same servers under another object of the graph are the same backend.
        if known is None or (known.servers is not servers and known.servers != servers):
            return SlotBackend(id=name, key=key, slot_class=slot_class, servers=servers)
        return known

    def _follow_identities(self, graph: RouteGraph, touched: Iterable[str]) -> None:
        """Note the certificates that the servers of these backends are shown: of few backends there is one."""
        changed = False
        for name in touched:
            before = self._identities.pop(name, None)
            placed = self._keeper.backends.get(name)
            after = None if placed is None else shown_identity(graph.backends[placed[0]])
            if after is not None:
                self._identities[name] = before if before == after and before is not None else after
            changed = changed or before != after
        if changed:
            self._shown = {item.digest: item for _, item in sorted(self._identities.items())}

    @override
    def limit(self, route: Route) -> RouteLimit | None:
        """A map holds printable text only; nothing that the translator makes is anything else."""
        if not _ROW_TEXT.fullmatch(route.match.value):
            return RouteLimit(message="cannot hold a path like this", reason=Reason.INVALID_PATH, drops=True)
        if isinstance(route.action, Redirect) and not _ROW_TEXT.fullmatch(route.action.location):
            return RouteLimit(message="cannot hold a redirect like this")
        return None
