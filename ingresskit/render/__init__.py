"""From the route graph to what one proxy needs to serve it."""

from ingresskit.render.base import Renderer, RouteLimit
from ingresskit.render.files import RenderedFile, Rendering
from ingresskit.render.judged import Restricted
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
