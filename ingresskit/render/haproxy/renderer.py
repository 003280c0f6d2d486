"""From the route graph to the artifact for HAProxy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import ClassVar, Final, Never, TypeVar

from typing_extensions import override

from ingresskit.diagnostics import Reason
from ingresskit.graph import (
    Backend,
    BackendKey,
    Certificate,
    Protocol,
    Redirect,
    Route,
    RouteGraph,
)
from ingresskit.models import ObjectKey
from ingresskit.render.base import Renderer, RouteLimit
from ingresskit.render.haproxy.artifact import (
    Block,
    Bundle,
    HaproxyArtifact,
    MapName,
    Pointer,
    Server,
    SlotBackend,
    SlotClass,
)
from ingresskit.render.haproxy.certificates import bundle_id, make_bundle, server_name_lines
from ingresskit.render.haproxy.policies import TABLE, SettingRow
from ingresskit.render.haproxy.prefixes import range_prefixes
from ingresskit.render.haproxy.route_row import SHARE_DIGITS
from ingresskit.render.haproxy.routes import Routes, RoutesKeeper
from ingresskit.render.haproxy.servers import make_server
from ingresskit.render.haproxy.tables import Split, make_block
from ingresskit.render.policies import HandlerTable, PolicyHandler
from ingresskit.render.remember import Remembered

__all__ = ["HaproxyRenderer"]

K = TypeVar("K")
V = TypeVar("V")

_ROW_TEXT: Final = re.compile(r"[\x21-\x7e]{1,4000}")
_SHARES: Final = 16**SHARE_DIGITS
_ZEROS: Final = "0" * (16 - SHARE_DIGITS)


_ID: Final = attrgetter("id")


class HaproxyRenderer(Renderer[HaproxyArtifact]):
    """Makes artifacts for HAProxy. What did not change since the last graph costs next to nothing."""

    name: ClassVar[str] = "haproxy"
    handlers: HandlerTable[PolicyHandler[Never, Never]] = TABLE
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.HTTPS, Protocol.H2C})
    looks_names_up: ClassVar[bool] = False

    def __init__(self) -> None:
        self._keeper = RoutesKeeper()
        # What the last graph came to, and by backend key the names its backends have.
        self._routes: Routes | None = None
        self._layouts: dict[str, Block] = {}
        self._made_servers: Remembered[BackendKey, Backend, tuple[Server, ...]] = Remembered(_servers)
        self._servers: Mapping[BackendKey, tuple[Server, ...]] = {}
        self._bundles: Remembered[ObjectKey, Certificate, Bundle] = Remembered(make_bundle)
        self._names: Mapping[BackendKey, Sequence[str]] = {}
        self._made_bundles: Mapping[ObjectKey, Bundle] = {}
        self._last = HaproxyArtifact()
        self._given: RouteGraph | None = None

    @override
    def render(self, graph: RouteGraph) -> HaproxyArtifact:
        last = self._last
        keys = None if self._given is None else graph.changed_since(self._given)
        routes = self._keeper.follow(graph.by_host, None if keys is None else keys.hosts)
        self._servers = self._made_servers.follow(graph.backends, None if keys is None else keys.backends)
        same, moved = routes is self._routes, self._made_servers.changed or self._made_servers.gone
        layouts = self._layouts
        if moved or not same:
            layouts = {split.id: self._layout(split) for split in routes.splits.values()}
        if same and layouts == self._layouts:
            pointers, blocks = last.pointers, last.blocks
        else:
            splits = {Pointer(MapName.SPLITS, split): layout.id for split, layout in layouts.items()}
            pointers = routes.pointers | splits
            blocks = routes.blocks | {layout.id: layout for layout in layouts.values()}
        if not same:
            self._names = _by_key(routes.backends)
        stale = {name for key in self._made_servers.changed for name in self._names.get(key, ())}
        renewed = {name: self._backend(name, *routes.backends[name]) for name in stale}
        known = last.backends
        if same:
            other = {name: item for name, item in renewed.items() if known.get(name) is not item}
            found = {**known, **other} if other else known
        else:
            # A backend of a class that is new may have servers that are not.
            every = {
                name: renewed.get(name) or known.get(name) or self._backend(name, *used)
                for name, used in routes.backends.items()
            }
            found = _kept(known, every)
        bundles = self._bundles.follow(graph.certificates, None if keys is None else keys.certificates)
        certificates = last.certificates
        if bundles is not self._made_bundles:
            certificates = dict(zip(map(_ID, bundles.values()), bundles.values(), strict=True))
        if self._given is None or graph.server_names is not self._given.server_names:
            server_names = server_name_lines(graph.server_names)
        else:
            server_names = last.server_names
        self._routes, self._layouts, self._made_bundles = routes, layouts, bundles
        default = graph.default_certificate
        self._last = HaproxyArtifact(
            needs=routes.needs(host_fallthrough=graph.host_fallthrough, paths=graph.paths),
            pointers=pointers,
            blocks=blocks,
            backends=found,
            certificates=certificates,
            server_names=server_names,
            default_certificate=None if default is None else bundle_id(default),
        )
        self._given = graph
        return self._last

    def _backend(self, name: str, key: BackendKey, slot_class: SlotClass) -> SlotBackend:
        servers = self._servers[key]
        known = self._last.backends.get(name)
        # The same servers under another object of the graph are the same backend.
        if known is None or (known.servers is not servers and known.servers != servers):
            return SlotBackend(id=name, key=key, slot_class=slot_class, servers=servers)
        return known

    def _layout(self, split: Split) -> Block:
        """How a split shares requests among those of its backends that have servers."""
        usable = [
            (name, share.weight)
            for name, share in zip(split.backends, split.shares, strict=True)
            if self._servers[share.key]
        ]
        total = sum(weight for _, weight in usable)
        bounds = [0]
        for _, weight in usable:
            bounds.append(bounds[-1] + weight)
        rows: list[SettingRow] = []
        for (name, _), (first, end) in zip(usable, pairwise(bounds), strict=True):
            first, end = (round(bound * _SHARES / total) for bound in (first, end))
            prefixes = range_prefixes(first, end, SHARE_DIGITS)
            # HAProxy writes a number as 16 digits.
            rows += ((MapName.SHARES, _ZEROS + prefix, name) for prefix in prefixes)
        return make_block("l", rows)

    @override
    def limit(self, route: Route) -> RouteLimit | None:
        """A map holds printable text only; nothing that the translator makes is anything else."""
        if not _ROW_TEXT.fullmatch(route.match.value):
            return RouteLimit(message="cannot hold a path like this", reason=Reason.INVALID_PATH, drops=True)
        if isinstance(route.action, Redirect) and not _ROW_TEXT.fullmatch(route.action.location):
            return RouteLimit(message="cannot hold a redirect like this")
        return None


def _servers(backend: Backend) -> tuple[Server, ...]:
    return tuple(make_server(item, backend.protocol) for item in backend.endpoints)


def _by_key(backends: Mapping[str, tuple[BackendKey, SlotClass]]) -> dict[BackendKey, list[str]]:
    names: dict[BackendKey, list[str]] = {}
    for name, (key, _) in backends.items():
        names.setdefault(key, []).append(name)
    return names


def _kept(before: Mapping[str, V], now: Mapping[str, V]) -> Mapping[str, V]:
    """*before* itself when it holds the same objects as *now*."""
    same = len(before) == len(now) and all(before.get(key) is item for key, item in now.items())
    return before if same else now
