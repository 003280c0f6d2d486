"""From the route graph to what nginx needs to serve it, in one of its modes."""

from __future__ import annotations

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
        return self._chosen.render(graph)
