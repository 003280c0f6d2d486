"""From the route graph to the artifact for HAProxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Final, TypeVar

from typing_extensions import override

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Backend, BackendKey, Certificate, Protocol, Route, RouteGraph, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef, Service
from ingresskit.policies import Policy
from ingresskit.render.base import Renderer
from ingresskit.render.haproxy.artifact import (
    Block,
    Bundle,
    HaproxyArtifact,
    MapName,
    Needs,
    Pointer,
    Server,
    SlotBackend,
    SlotClass,
)
from ingresskit.render.haproxy.certificates import bundle_id, make_bundle, server_name_lines
from ingresskit.render.haproxy.policies import HANDLERS, SettingRow
from ingresskit.render.haproxy.prefixes import range_prefixes
from ingresskit.render.haproxy.servers import make_server
from ingresskit.render.haproxy.tables import HostPart, Split, host_part, make_block
from ingresskit.render.haproxy.words import SHARE_DIGITS

__all__ = ["HaproxyRenderer"]

K = TypeVar("K")
V = TypeVar("V")

_SHARES: Final = 16**SHARE_DIGITS


class HaproxyRenderer(Renderer[HaproxyArtifact]):
    """Makes artifacts for HAProxy. What did not change since the last graph costs next to nothing."""

    name: ClassVar[str] = "haproxy"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset(handler.policy for handler in HANDLERS)
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.HTTPS, Protocol.H2C})

    def __init__(self) -> None:
        self._parts: dict[str, tuple[VirtualHost, HostPart]] = {}
        self._routes: _Routes = _Routes()
        self._seen: _Routes = self._routes
        self._layouts: dict[str, Block] = {}
        self._servers: dict[BackendKey, tuple[Backend, tuple[Server, ...]]] = {}
        self._bundles: dict[ObjectKey, tuple[Certificate, Bundle]] = {}
        self._last = HaproxyArtifact()

    @override
    def render(self, graph: RouteGraph) -> HaproxyArtifact:
        last = self._last
        routes = self._follow_routes(graph.virtual_hosts)
        self._follow_servers(graph.backends)
        self._follow_bundles(graph.certificates)
        layouts = {split.id: self._layout(split) for split in routes.splits.values()}
        if routes is not self._seen or layouts != self._layouts:
            splits = {Pointer(MapName.SPLITS, split): layout.id for split, layout in layouts.items()}
            pointers: Mapping[Pointer, str] = routes.pointers | splits
            blocks: Mapping[str, Block] = routes.blocks | {layout.id: layout for layout in layouts.values()}
            self._seen, self._layouts = routes, layouts
        else:
            pointers, blocks = last.pointers, last.blocks
        certificates = {bundle.id: bundle for _, bundle in self._bundles.values()}
        default = graph.default_certificate
        self._last = HaproxyArtifact(
            needs=replace(routes.needs, host_fallthrough=graph.host_fallthrough),
            pointers=pointers,
            blocks=blocks,
            backends=_kept(last.backends, self._backends(routes.backends)),
            certificates=_kept(last.certificates, certificates),
            server_names=server_name_lines(graph.server_names),
            default_certificate=None if default is None else bundle_id(default),
        )
        return self._last

    def _follow_routes(self, hosts: tuple[VirtualHost, ...]) -> _Routes:
        before = self._parts
        if len(before) == len(hosts) and all(
            (known := before.get(host.host)) is not None and known[0] is host for host in hosts
        ):
            return self._routes
        parts: dict[str, tuple[VirtualHost, HostPart]] = {}
        for host in hosts:
            known = before.get(host.host)
            parts[host.host] = known if known and known[0] is host else (host, host_part(host))
        self._parts = parts
        self._routes = _merged([part for _, part in parts.values()])
        return self._routes

    def _follow_servers(self, backends: Mapping[BackendKey, Backend]) -> None:
        before = self._servers
        self._servers = {
            key: known
            if (known := before.get(key)) is not None and known[0] is backend
            else (backend, tuple(make_server(item, backend.protocol) for item in backend.endpoints))
            for key, backend in backends.items()
        }

    def _follow_bundles(self, certificates: Mapping[ObjectKey, Certificate]) -> None:
        before = self._bundles
        self._bundles = {
            key: known
            if (known := before.get(key)) is not None and known[0] is certificate
            else (certificate, make_bundle(certificate))
            for key, certificate in certificates.items()
        }

    def _backends(self, used: Mapping[str, tuple[BackendKey, SlotClass]]) -> dict[str, SlotBackend]:
        before, servers = self._last.backends, self._servers
        found: dict[str, SlotBackend] = {}
        for name, (key, slot_class) in used.items():
            held = servers[key][1]
            known = before.get(name)
            # The same servers under another object of the graph are the same backend.
            if known is None or (known.servers is not held and known.servers != held):
                known = SlotBackend(id=name, key=key, slot_class=slot_class, servers=held)
            found[name] = known
        return found

    def _layout(self, split: Split) -> Block:
        """How a split shares requests among those of its backends that have servers."""
        usable = [
            (name, share.weight)
            for name, share in zip(split.backends, split.shares, strict=True)
            if self._servers[share.key][1]
        ]
        total = sum(weight for _, weight in usable)
        bounds = [0]
        for _, weight in usable:
            bounds.append(bounds[-1] + weight)
        rows: list[SettingRow] = []
        for (name, _), (first, end) in zip(usable, pairwise(bounds), strict=True):
            first, end = (round(bound * _SHARES / total) for bound in (first, end))
            # HAProxy writes a number as 16 digits.
            rows += (
                (MapName.SHARES, "0" * (16 - SHARE_DIGITS) + item, name)
                for item in range_prefixes(first, end, SHARE_DIGITS)
            )
        return make_block("l", rows)

    @override
    def _restricted_route(self, route: Route, diagnostics: list[Diagnostic]) -> Route:
        for handler in HANDLERS:
            if handler.policy not in route.policies:
                continue
            for name, why in handler.losses(route.policies):
                origin = route.policies.origin(handler.policy, name) or route.origin
                diagnostics.append(
                    Diagnostic(
                        subject=origin.subject,
                        field=origin.field,
                        reason=Reason.POLICY_UNSUPPORTED,
                        message=f"the {self.name} renderer {why}; it is ignored",
                        severity=Severity.WARNING,
                    )
                )
        return super()._restricted_route(route, diagnostics)

    @override
    def _restricted_backend(self, backend: Backend, diagnostics: list[Diagnostic]) -> Backend:
        backend = super()._restricted_backend(backend, diagnostics)
        names = [item.address for item in backend.endpoints if not _is_address(item.address)]
        if not names:
            return backend
        note = f"the {self.name} renderer connects to addresses only, not to the name {names[0]}"
        diagnostics.append(
            Diagnostic(
                subject=ObjectRef(Service.kind, ObjectKey(backend.key.namespace, backend.key.service)),
                field="spec.externalName",
                reason=Reason.EXTERNAL_NAME_REFUSED,
                message=f"{note}; routes to it answer 503",
            )
        )
        return replace(backend, endpoints=(), note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """What all virtual hosts contribute together."""

    needs: Needs = field(default_factory=Needs)
    pointers: dict[Pointer, str] = field(default_factory=dict[Pointer, str])
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    backends: dict[str, tuple[BackendKey, SlotClass]] = field(
        default_factory=dict[str, tuple[BackendKey, SlotClass]]
    )
    splits: dict[str, Split] = field(default_factory=dict[str, Split])


def _merged(held: Sequence[HostPart]) -> _Routes:
    """The parts of all hosts together."""
    blocks: dict[str, Block] = {}
    backends: dict[str, tuple[BackendKey, SlotClass]] = {}
    splits: dict[str, Split] = {}
    for part in held:
        blocks.update(part.blocks)
        backends.update(part.backends)
        splits.update(part.splits)
    return _Routes(
        pointers={part.pointer: part.table for part in held},
        blocks=blocks,
        backends=backends,
        splits=splits,
        needs=Needs(
            classes=dict(_first(part.classes for part in held).values()),
            statuses=_first(part.statuses for part in held),
            request_headers=_first(part.request_headers for part in held),
            response_headers=_first(part.response_headers for part in held),
        ),
    )


def _first(items: Iterable[Mapping[K, V]]) -> dict[K, V]:
    """All mappings in one; of several values for a key, that of the first mapping that has it."""
    found: dict[K, V] = {}
    for item in items:
        for key, value in item.items():
            if key not in found:
                found[key] = value
    return found


def _kept(before: Mapping[str, V], now: dict[str, V]) -> Mapping[str, V]:
    """*before* itself when it holds the same objects as *now*."""
    same = len(before) == len(now) and all(before.get(key) is item for key, item in now.items())
    return before if same else now


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
