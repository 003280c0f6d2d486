"""From the route graph to what one proxy needs to serve it."""

from ingresskit.render.base import RenderedFile, Renderer, Rendering, Restricted

__all__ = ["RenderedFile", "Renderer", "Rendering", "Restricted"]
