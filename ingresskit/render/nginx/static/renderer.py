"""The static mode: routes and endpoints are files of nginx, and most changes are reloads."""

from __future__ import annotations

from typing import Never

from typing_extensions import override

from ingresskit.errors import ConfigurationError, RenderError
from ingresskit.graph import DEFAULT_PATHS, Redirect, Route, RouteGraph
from ingresskit.render.base import RouteLimit
from ingresskit.render.nginx.artifact import Mode, NginxArtifact, config_file
from ingresskit.render.nginx.base import CertificatesById, ModeRenderer
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.policies import STATIC_HANDLERS
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.host_files import HostFiles
from ingresskit.render.nginx.static.main import common_files, main_nodes
from ingresskit.render.nginx.static.server_names import ServerNamesFile
from ingresskit.render.nginx.static.upstreams import UpstreamsFile
from ingresskit.render.nginx.tree import text_fault
from ingresskit.render.policies import HandlerTable, PolicyHandler

__all__ = ["StaticRenderer"]


class StaticRenderer(ModeRenderer):
    """Makes the files of nginx's static mode. What did not change since the last graph is not made again.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program; by default those of the oldest one, which any can do.

    Raises:
        ConfigurationError: The program cannot do what the settings ask for.
    """

    handlers: HandlerTable[PolicyHandler[Never, Never]] = STATIC_HANDLERS

    def __init__(self, settings: NginxSettings, capabilities: Capabilities | None = None) -> None:
        capabilities = capabilities or Capabilities()
        super().__init__(settings, capabilities)
        if settings.underscores_in_headers:
            raise ConfigurationError(
                "underscores_in_headers needs the dynamic mode: nginx alone cannot drop X_Forwarded_For"
            )
        self._main = config_file("nginx.conf", main_nodes(settings, capabilities))
        self._common = common_files(settings)
        self._hosts = HostFiles(settings, long_locations=capabilities.long_locations)
        self._certificates = CertificatesById()
        self._upstreams = UpstreamsFile(settings, named=bool(settings.resolver) and capabilities.follows_names)
        self._server_names = ServerNamesFile()
        self._given: RouteGraph | None = None

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
        # No graph until this one is rendered: after an error, everything is looked at.
        given, self._given = self._given, None
        keys = None if given is None else graph.changed_since(given)
        changed = None if keys is None else set(keys.backends)
        for upstream in self._hosts.follow(graph, keys):
            (self._upstreams.put if self._hosts.uses(upstream) else self._upstreams.drop)(upstream)
            if changed is not None:
                changed.add(upstream.key)
        certificates = self._certificates.follow(graph, None if keys is None else keys.certificates)
        if self._hosts.shown:
            certificates = {**certificates, **self._hosts.shown}
        artifact = NginxArtifact(
            mode=Mode.STATIC,
            main=self._main,
            common=self._common,
            server_names=self._server_names.follow(
                graph.server_names, None if keys is None else keys.server_names
            ),
            upstreams=self._upstreams.render(graph.backends, changed),
            endpoints=self._upstreams.endpoints,
            hosts=self._hosts.files,
            authorities=self._hosts.authorities,
            certificates=certificates,
            backend_keys=self._upstreams.keys,
        )
        self._given = graph
        return artifact
