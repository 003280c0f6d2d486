"""The static mode: routes and endpoints are files of nginx, and most changes are reloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from ingresskit.errors import ConfigurationError, RenderError
from ingresskit.graph import (
    ANY_HOST,
    DEFAULT_PATHS,
    Backend,
    BackendKey,
    Protocol,
    Redirect,
    Route,
    RouteGraph,
    VirtualHost,
    host_candidates,
)
from ingresskit.models import ObjectKey
from ingresskit.render.base import RouteLimit
from ingresskit.render.nginx.artifact import ConfigFile, Mode, NginxArtifact, config_file
from ingresskit.render.nginx.base import CertificatesById, ModeRenderer
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.names import host_id
from ingresskit.render.nginx.policies import STATIC_HANDLERS
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.hosts import host_nodes
from ingresskit.render.nginx.static.locations import served
from ingresskit.render.nginx.static.main import common_files, main_nodes
from ingresskit.render.nginx.static.server_names import server_name_nodes
from ingresskit.render.nginx.static.upstreams import Upstream, UpstreamsFile
from ingresskit.render.nginx.tree import text_fault

__all__ = ["StaticRenderer"]


@dataclass(frozen=True, slots=True)
class _Host:
    """A rendered host, and what it was rendered from."""

    candidates: tuple[VirtualHost, ...]
    backends: Mapping[BackendKey, Protocol | None]
    file: ConfigFile
    upstreams: tuple[Upstream, ...]


class StaticRenderer(ModeRenderer):
    """Makes the files of nginx's static mode. What did not change since the last graph is not made again.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program; by default those of the oldest one, which any can do.

    Raises:
        ConfigurationError: The program cannot do what the settings ask for.
    """

    handlers = STATIC_HANDLERS

    def __init__(self, settings: NginxSettings, capabilities: Capabilities | None = None) -> None:
        capabilities = capabilities or Capabilities()
        super().__init__(settings, capabilities)
        if settings.underscores_in_headers:
            raise ConfigurationError(
                "underscores_in_headers needs the dynamic mode: nginx alone cannot drop X_Forwarded_For"
            )
        self._settings = settings
        self._long_locations = capabilities.long_locations
        self._main = config_file("nginx.conf", main_nodes(settings, capabilities))
        self._common = common_files(settings)
        self._hosts: dict[str, _Host] = {}
        self._certificates = CertificatesById()
        self._upstreams = UpstreamsFile(settings, named=bool(settings.resolver) and capabilities.follows_names)
        self._server_names: tuple[Mapping[str, ObjectKey | None], ConfigFile] | None = None

    @override
    def limit(self, route: Route) -> RouteLimit | None:
        """A place to redirect to must be one token of nginx."""
        if isinstance(route.action, Redirect) and (fault := text_fault(route.action.location)):
            return RouteLimit(message=f"cannot write the place to redirect to, which {fault}")
        return None

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        if graph.paths != DEFAULT_PATHS:
            raise RenderError(
                "nginx's static mode brings paths into the default normal form only: it cannot keep slashes or "
                "refuse ambiguous paths; use the dynamic mode"
            )
        hosts: dict[str, _Host] = {}
        for host in (*graph.virtual_hosts, *(() if graph.virtual_host(ANY_HOST) else (_NO_RULES,))):
            hosts[host.host] = self._host(graph, host)
        self._hosts = hosts
        used = {upstream: None for item in hosts.values() for upstream in item.upstreams}
        return NginxArtifact(
            mode=Mode.STATIC,
            main=self._main,
            common=self._common,
            server_names=self._server_names_of(graph),
            upstreams=self._upstreams.render(tuple(sorted(used)), graph.backends),
            endpoints=self._upstreams.endpoints,
            hosts={name: item.file for name, item in hosts.items()},
            certificates=self._certificates.follow(graph),
            backend_keys={upstream.name: upstream.key for upstream in used},
        )

    def _host(self, graph: RouteGraph, host: VirtualHost) -> _Host:
        candidates: tuple[VirtualHost, ...] = (host,)
        if graph.host_fallthrough:
            names = [host.host, *list(host_candidates(host.host.replace("*.", "x.", 1)))[1:]]
            found = (graph.virtual_host(name) for name in dict.fromkeys(names))
            candidates = tuple(item for item in found if item is not None) or (host,)
        before = self._hosts.get(host.host)
        if before is not None and (before.candidates is candidates or before.candidates == candidates):
            now = {key: _protocol(graph.backends, key) for key in before.backends}
            if now == before.backends:
                return before
        seen: dict[BackendKey, Protocol | None] = {}

        def available(key: BackendKey) -> Backend | None:
            seen[key] = _protocol(graph.backends, key)
            return None if seen[key] is None else graph.backends[key]

        nodes, upstreams = host_nodes(
            host, served(candidates), self._settings, available, long_locations=self._long_locations
        )
        file = config_file(f"hosts/{host_id(host.host)}.conf", nodes)
        return _Host(candidates, seen, file, upstreams)

    def _server_names_of(self, graph: RouteGraph) -> ConfigFile:
        before = self._server_names
        if before is not None and (before[0] is graph.server_names or before[0] == graph.server_names):
            return before[1]
        file = config_file("server-names.conf", server_name_nodes(graph.server_names))
        self._server_names = (graph.server_names, file)
        return file


_NO_RULES = VirtualHost(host=ANY_HOST)


def _protocol(backends: Mapping[BackendKey, Backend], key: BackendKey) -> Protocol | None:
    backend = backends.get(key)
    return backend.protocol if backend is not None and backend.endpoints else None
