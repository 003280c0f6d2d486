"""From the route graph to what one proxy needs to serve it."""

from ingresskit.render.base import RenderedFile, Renderer, Rendering, Restricted, RouteLimit
from ingresskit.render.policies import HandlerTable, Judgement, LeftToDelegate, Loss, PolicyHandler, Support
from ingresskit.render.remember import Remembered

__all__ = [
    "HandlerTable",
    "Judgement",
    "LeftToDelegate",
    "Loss",
    "PolicyHandler",
    "Remembered",
    "RenderedFile",
    "Renderer",
    "Rendering",
    "Restricted",
    "RouteLimit",
    "Support",
]
