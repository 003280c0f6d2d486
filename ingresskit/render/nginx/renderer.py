"""From the route graph to what nginx needs to serve it, in one of its modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Never

from typing_extensions import override

from ingresskit.graph import Protocol, Route, RouteGraph
from ingresskit.render.base import Renderer, RouteLimit
from ingresskit.render.nginx.artifact import Mode, NginxArtifact
from ingresskit.render.nginx.base import ModeRenderer
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.dynamic.renderer import DynamicRenderer
from ingresskit.render.nginx.policies import DYNAMIC_HANDLERS, STATIC_HANDLERS
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.renderer import StaticRenderer
from ingresskit.render.nginx.streams import StreamsFile
from ingresskit.render.policies import HandlerTable, PolicyHandler

__all__ = ["NginxRenderer"]


class NginxRenderer(Renderer[NginxArtifact]):
    """Makes the configuration of nginx, with the renderer of one mode.

    What did not change since the last graph is not made again.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program; by default those of the oldest one, which any can do.
        mode: How changes reach it; by default `Mode.DYNAMIC` where the program has Lua.

    Raises:
        ConfigurationError: The program cannot do what the settings ask for.
    """

    name: ClassVar[str] = ModeRenderer.name
    handlers: HandlerTable[PolicyHandler[Never, Never]] = STATIC_HANDLERS.only(
        STATIC_HANDLERS.supports & DYNAMIC_HANDLERS.supports
    )
    """How the mode honours policies; of the class, those that both modes honour."""
    protocols: ClassVar[frozenset[Protocol]] = ModeRenderer.protocols
    loses_trailers: ClassVar[bool] = True
    looks_names_up: ClassVar[bool] = ModeRenderer.looks_names_up

    def __init__(
        self,
        settings: NginxSettings,
        capabilities: Capabilities | None = None,
        *,
        mode: Mode | None = None,
    ) -> None:
        capabilities = capabilities or Capabilities()
        self.mode: Mode = mode or (Mode.DYNAMIC if capabilities.lua else Mode.STATIC)
        chosen = DynamicRenderer if self.mode is Mode.DYNAMIC else StaticRenderer
        self._chosen: ModeRenderer = chosen(settings, capabilities)
        self.handlers = self._chosen.handlers
        vars(self).update(protocols=self._chosen.protocols)
        self.unspoken: Mapping[Protocol, str] = self._chosen.unspoken
        why = _why_not_passed(settings, capabilities, self.mode)
        self.passes_tls: bool = not why
        self.no_passthrough: str = why
        self._streams = StreamsFile(settings)
        self._passing: ModeRenderer | None = None
        self._make_passing: Callable[[], ModeRenderer] = lambda: chosen(
            replace(settings, behind_streams=True),
            replace(capabilities, load_modules=(*capabilities.load_modules, *capabilities.stream_modules)),
        )

    @override
    def limit(self, route: Route) -> RouteLimit | None:
        """As the renderer of the mode has it."""
        return self._chosen.limit(route)

    @override
    def can_match(self, route: Route) -> bool:
        """As the renderer of the mode can."""
        return self._chosen.can_match(route)

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        streams = self._streams.follow(graph) if self.passes_tls else None
        if streams is None:
            return self._chosen.render(graph)
        # Only while a host is passed on: others would pay for it.
        if self._passing is None:
            self._passing = self._make_passing()
        return replace(self._passing.render(graph), streams=streams)


def _why_not_passed(settings: NginxSettings, capabilities: Capabilities, mode: Mode) -> str:
    """Why no connection is passed on, as the end of a sentence; empty: some may be."""
    if not capabilities.stream:
        return (
            "needs nginx's stream module with ssl_preread and realip to pass TLS connections on (Debian has it"
            " in libnginx-mod-stream)"
        )
    if not capabilities.realip:
        return "needs nginx's real-IP module to pass TLS connections on"
    if settings.proxy_protocol:
        return "does not pass TLS connections on where clients are known by PROXY headers"
    if settings.trusted_proxies and mode is Mode.STATIC:
        return "passes TLS connections on beside trusted proxies in its dynamic mode only"
    return ""
