"""The files of virtual hosts, and the upstreams that they use, from one graph to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, cast

from ingresskit.graph import (
    ANY_HOST,
    Backend,
    BackendKey,
    Certificate,
    GraphKeys,
    Protocol,
    RouteGraph,
    VirtualHost,
    host_candidates,
)
from ingresskit.policies import ClientCertificates, PolicySet, UpstreamTls
from ingresskit.render.nginx.artifact import ConfigFile, config_file
from ingresskit.render.nginx.authorities import authority_files
from ingresskit.render.nginx.names import host_id
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.hosts import host_nodes
from ingresskit.render.nginx.static.locations import served
from ingresskit.render.nginx.static.upstream_tls import identity_certificates, tls_files
from ingresskit.render.nginx.static.upstreams import Upstream

__all__ = ["HostFiles"]

_NO_RULES: Final = VirtualHost(host=ANY_HOST)


@dataclass(frozen=True, slots=True)
class _Host:
    """A rendered host, and what it was rendered from."""

    candidates: tuple[VirtualHost, ...]
    backends: Mapping[BackendKey, Protocol | None]
    strict: bool
    file: ConfigFile
    upstreams: tuple[Upstream, ...]
    tls: tuple[UpstreamTls, ...]


_FILE: Final = cast("Callable[[_Host], ConfigFile]", attrgetter("file"))


class HostFiles:
    """Follows the virtual hosts of successive graphs: visits those that may differ.

    Args:
        settings: Of the nginx it is for.
        long_locations: As `Capabilities.long_locations`.

    Attributes:
        authorities: The files with those who sign certificates of clients and endpoints, by path.
        shown: By id, the certificates that endpoints are shown.
        files: By rule host, in the order of the graph; always with one of ``*``, which takes all others.
    """

    def __init__(self, settings: NginxSettings, *, long_locations: bool) -> None:
        self._settings = settings
        self._long_locations = long_locations
        self._hosts: dict[str, _Host] = {}
        self._fallthrough = False
        self._by_backend: dict[BackendKey, set[str]] = {}
        self._uses: dict[Upstream, int] = {}
        self.files: Mapping[str, ConfigFile] = {}
        self.authorities: Mapping[str, ConfigFile] = {}
        self.shown: Mapping[str, Certificate] = {}
        self._asking: dict[str, PolicySet] = {}
        self._tls: dict[str, tuple[UpstreamTls, ...]] = {}

    def follow(self, graph: RouteGraph, keys: GraphKeys | None) -> set[Upstream]:
        """Render the hosts of *graph*.

        Args:
            graph: It.
            keys: At least what differs from the graph before; ``None``: all may.

        Returns:
            The upstreams that hosts may have begun or ceased to use; see `uses`.

        Raises:
            TextRefused: A value in a route cannot be written. Nothing is remembered of the graph then.
        """
        given = graph.by_host
        looked_at = self._looked_at(graph, keys)
        asking = {name: item for name, item in self._asking.items() if name not in looked_at}
        for name in looked_at:
            policies = given[name].policies.of_handshake() if name in given else PolicySet()
            if ClientCertificates in policies:
                asking[name] = policies
        strict = bool(asking)
        if strict is not bool(self._asking):
            looked_at = dict.fromkeys((*looked_at, ANY_HOST))
        made = {
            name: self._host(graph, given.get(name, _NO_RULES), strict=strict and name == ANY_HOST)
            for name in looked_at
            if name in given or name == ANY_HOST
        }
        gone = [name for name in looked_at if name not in made and name in self._hosts]
        changed = [name for name, host in made.items() if self._hosts.get(name) is not host]
        touched: set[Upstream] = set()
        for name in gone:
            touched |= self._count(name, self._hosts[name], -1)
        for name in changed:
            if (before := self._hosts.get(name)) is not None:
                touched |= self._count(name, before, -1)
            touched |= self._count(name, made[name], 1)
        if gone or changed:
            held = {**self._hosts, **made}
            # One call, which runs no Python per host.
            names = given if ANY_HOST in given else (*given, ANY_HOST)
            self._hosts = dict(zip(names, map(held.__getitem__, names), strict=True))
            self.files = dict(zip(names, map(_FILE, self._hosts.values()), strict=True))
        self._fallthrough = graph.host_fallthrough
        tls = {name: item for name, item in self._tls.items() if name not in gone and name not in made}
        tls |= {name: host.tls for name, host in made.items() if host.tls}
        if asking != self._asking or tls != self._tls:
            self._asking, self._tls = asking, tls
            said = [policy for _, policies in sorted(tls.items()) for policy in policies]
            files = (
                *(file for _, policies in sorted(asking.items()) for file in authority_files(policies)),
                *(file for policy in said for file in tls_files(policy)),
            )
            self.authorities = {file.path: file for file in files}
            self.shown = dict(identity_certificates(said))
        return touched

    def uses(self, upstream: Upstream) -> bool:
        """Whether a host sends requests to *upstream*."""
        return upstream in self._uses

    def _looked_at(self, graph: RouteGraph, keys: GraphKeys | None) -> Iterable[str]:
        if keys is None or graph.host_fallthrough != self._fallthrough or not self._hosts:
            return {**self._hosts, **dict.fromkeys(graph.by_host), ANY_HOST: None}
        if graph.host_fallthrough and any(host.startswith("*") for host in keys.hosts):
            return {**self._hosts, **dict.fromkeys(graph.by_host)}  # its routes are in the files of others
        return keys.hosts.union(*(self._by_backend.get(key, ()) for key in keys.backends))

    def _count(self, name: str, host: _Host, step: int) -> set[Upstream]:
        for key in host.backends:
            users = self._by_backend.setdefault(key, set())
            (users.add if step > 0 else users.discard)(name)
            if not users:
                del self._by_backend[key]
        for upstream in host.upstreams:
            count = self._uses.pop(upstream, 0) + step
            if count:
                self._uses[upstream] = count
        return set(host.upstreams)

    def _host(self, graph: RouteGraph, host: VirtualHost, *, strict: bool) -> _Host:
        candidates: tuple[VirtualHost, ...] = (host,)
        if graph.host_fallthrough:
            names = [host.host, *list(host_candidates(host.host.replace("*.", "x.", 1)))[1:]]
            found = (graph.virtual_host(name) for name in dict.fromkeys(names))
            candidates = tuple(item for item in found if item is not None) or (host,)
        before = self._hosts.get(host.host)
        if before is not None and before.candidates == candidates and before.strict is strict:
            now = {key: _protocol(graph.backends, key) for key in before.backends}
            if now == before.backends:
                return before
        seen: dict[BackendKey, Protocol | None] = {}

        def available(key: BackendKey) -> Backend | None:
            seen[key] = _protocol(graph.backends, key)
            return None if seen[key] is None else graph.backends[key]

        nodes, upstreams, tls = host_nodes(
            host,
            served(candidates),
            self._settings,
            available,
            long_locations=self._long_locations,
            strict=strict,
        )
        file = config_file(f"hosts/{host_id(host.host)}.conf", nodes)
        return _Host(candidates, seen, strict, file, upstreams, tls)


def _protocol(backends: Mapping[BackendKey, Backend], key: BackendKey) -> Protocol | None:
    backend = backends.get(key)
    return backend.protocol if backend is not None and backend.endpoints else None
