"""From the route graph to what nginx needs to serve it, in one of its modes."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ingresskit.graph import Protocol, RouteGraph
from ingresskit.policies import Policy
from ingresskit.render.base import Renderer, Restricted
from ingresskit.render.nginx.artifact import Mode, NginxArtifact
from ingresskit.render.nginx.base import ModeRenderer
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.dynamic.renderer import DynamicRenderer
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.renderer import StaticRenderer

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
    supports: ClassVar[frozenset[type[Policy]]] = StaticRenderer.supports & DynamicRenderer.supports
    """The policies that both modes honour."""
    protocols: ClassVar[frozenset[Protocol]] = ModeRenderer.protocols

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

    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        """As the renderer of the mode has it."""
        return self._chosen.restrict(graph)

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        return self._chosen.render(graph)
