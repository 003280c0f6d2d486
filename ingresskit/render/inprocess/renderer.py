"""From the route graph to the routing table of the in-process proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Never

from typing_extensions import override

from ingresskit.filters import BUILTIN_EFFECTS, AddressRanges, PolicyEffects
from ingresskit.graph import Certificate, PathKind, Protocol, RouteGraph, StreamRoute, VirtualHost
from ingresskit.models import ObjectKey
from ingresskit.policies import (
    Affinity,
    AllowedSources,
    BandwidthLimit,
    ClientCertificates,
    DeniedSources,
    EndpointLimit,
    HashBy,
    HealthCheck,
    HostTls,
    LoadBalancing,
    PassiveHealth,
    PlainHttp,
    Policy,
    PolicySet,
    RequestBuffering,
    Retries,
    SlowStart,
    Timeouts,
    TlsRedirect,
    UpstreamConnection,
    UpstreamKeepalive,
    UpstreamTls,
)
from ingresskit.render.base import Renderer
from ingresskit.render.inprocess.certificates import CERTIFICATE_LOSSES
from ingresskit.render.inprocess.mixed import mixed_host_table
from ingresskit.render.inprocess.table import HostTable, RoutingTable, StreamTarget, Target
from ingresskit.render.inprocess.targets import TargetMaker
from ingresskit.render.policies import HandlerTable, PolicyHandler
from ingresskit.render.remember import Remembered

__all__ = ["InProcessRenderer", "stream_targets"]


# What acts beside the filters: on the way to TLS, and on the choice of an endpoint.
_UPSTREAM: Final[frozenset[type[Policy]]] = frozenset(
    {
        Affinity,
        BandwidthLimit,
        RequestBuffering,
        ClientCertificates,
        EndpointLimit,
        HashBy,
        HealthCheck,
        HostTls,
        LoadBalancing,
        PassiveHealth,
        PlainHttp,
        Retries,
        SlowStart,
        Timeouts,
        TlsRedirect,
        UpstreamConnection,
        UpstreamKeepalive,
        UpstreamTls,
    }
)
_LOSSES: Final = HandlerTable[PolicyHandler[Never, Never]](CERTIFICATE_LOSSES)


class InProcessRenderer(Renderer[RoutingTable]):
    """Makes routing tables for `ingresskit.proxy`. A host that did not change keeps its table.

    Args:
        effects: What policies do; those that are in it are supported.
        affinity_key: As `RoutingTable.affinity_key`: a secret, of at least 16 octets.
    """

    name: ClassVar[str] = "inprocess"
    handlers: HandlerTable[PolicyHandler[Never, Never]] = _LOSSES.only(_UPSTREAM | BUILTIN_EFFECTS.kinds)
    protocols: ClassVar[frozenset[Protocol]] = frozenset(Protocol)
    matches_patterns: ClassVar[bool] = True
    limits_matching: ClassVar[bool] = True
    matches_variants: ClassVar[bool] = True
    passes_tls: bool = True
    takes_ports: bool = True

    def __init__(self, *, effects: PolicyEffects = BUILTIN_EFFECTS, affinity_key: bytes = b"") -> None:
        self._affinity_key = affinity_key
        self.handlers: HandlerTable[PolicyHandler[Never, Never]] = _LOSSES.only(_UPSTREAM | effects.kinds)
        self.effects = effects
        self._hosts = Remembered[str, VirtualHost, HostTable](self._host_table)
        self._handshakes: Mapping[str, PolicySet] = {}
        self._streams: Mapping[str, StreamTarget] = {}
        self._ports: Mapping[int, StreamTarget] = {}
        self._given_ports: Mapping[int, StreamRoute] | None = None
        self._given: RouteGraph | None = None
        self._certificates: Mapping[str, Certificate | None] = {}

    @override
    def render(self, graph: RouteGraph) -> RoutingTable:
        keys = None if self._given is None else graph.changed_since(self._given)
        hosts = self._hosts.follow(graph.by_host, None if keys is None else keys.hosts)
        self._follow_handshakes(graph)
        self._follow_streams(graph)
        if self._given is None or keys is None or keys.certificates or keys.server_names:
            # One call, which runs no Python per name.
            held: dict[ObjectKey | None, Certificate | None] = {None: None}
            held.update(graph.certificates.items())
            served = map(held.__getitem__, graph.server_names.values())
            self._certificates = dict(zip(graph.server_names, served, strict=True))
        self._given = graph
        default = graph.default_certificate
        return RoutingTable(
            hosts=hosts,
            backends=graph.backends,
            certificates=self._certificates,
            default_certificate=None if default is None else graph.certificates[default],
            handshakes=self._handshakes,
            streams=self._streams,
            ports=self._follow_ports(graph),
            host_fallthrough=graph.host_fallthrough,
            paths=graph.paths,
            affinity_key=self._affinity_key,
        )

    def _follow_handshakes(self, graph: RouteGraph) -> None:
        """Note the hosts that changed; nearly all have nothing to say in a handshake."""
        before = self._handshakes
        gone = [name for name in (*self._hosts.gone, *self._hosts.changed) if name in before]
        found = {
            name: policies
            for name in self._hosts.changed
            if (policies := graph.by_host[name].policies.of_handshake())
        }
        if gone or found:
            self._handshakes = {**{name: before[name] for name in before if name not in gone}, **found}

    def _follow_streams(self, graph: RouteGraph) -> None:
        """The same of the hosts whose TLS connections do not end here."""
        before = self._streams
        gone = [name for name in (*self._hosts.gone, *self._hosts.changed) if name in before]
        found = {
            name: _stream_target(name, stream)
            for name in self._hosts.changed
            if (stream := graph.by_host[name].stream) is not None
        }
        if gone or found:
            self._streams = {**{name: before[name] for name in before if name not in gone}, **found}

    def _follow_ports(self, graph: RouteGraph) -> Mapping[int, StreamTarget]:
        if graph.ports is not self._given_ports:
            self._given_ports = graph.ports
            self._ports = stream_targets(graph.ports)
        return self._ports

    def _host_table(self, host: VirtualHost) -> HostTable:
        return _host_table(host, self.effects)


def stream_targets(ports: Mapping[int, StreamRoute]) -> Mapping[int, StreamTarget]:
    """Further ports as a proxy takes connections to them."""
    return {port: _stream_target("", stream) for port, stream in ports.items()}


def _stream_target(host: str, stream: StreamRoute) -> StreamTarget:
    allowed, denied = stream.policies.get(AllowedSources), stream.policies.get(DeniedSources)
    timeouts = stream.policies.get(Timeouts) or Timeouts()
    return StreamTarget(
        route=stream,
        host=host,
        allowed=AddressRanges(allowed.networks if allowed is not None else ()),
        denied=AddressRanges(denied.networks if denied is not None else ()),
        connect_timeout=None if timeouts.connect is None else timeouts.connect.total_seconds(),
        idle_timeout=None if timeouts.read is None else timeouts.read.total_seconds(),
    )


def _host_table(host: VirtualHost, effects: PolicyEffects) -> HostTable:
    maker = TargetMaker(host, effects)
    if any(route.selection or route.match.kind is PathKind.REGEX for route in host.routes):
        return mixed_host_table(host.host, map(maker.target, host.routes))
    exact: dict[str, Target] = {}
    prefixes: dict[str, Target] = {}
    for route in host.routes:
        target = maker.target(route)
        if route.match.kind is PathKind.EXACT:
            exact[route.match.value] = target
        else:
            prefixes[target.matched] = target
    return HostTable(host=host.host, exact=exact, prefixes=prefixes)
