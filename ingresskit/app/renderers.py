"""The renderers that a folder can be tried on: the package's own, and those that other packages register.

A package registers one in its metadata, in the group ``ingresskit.renderers``: under a name, what to call
without arguments for a `Renderer`, which its class may be.

    [project.entry-points."ingresskit.renderers"]
    tollgate = "tollgate:TollgateRenderer"

Each is imported when it is asked for: a renderer's room takes a while to load.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from ingresskit.app.extensions import installed_effects
from ingresskit.errors import ConfigurationError
from ingresskit.filters import PolicyEffects
from ingresskit.graph import RouteGraph
from ingresskit.render import Renderer, Restricted

__all__ = ["BUILT_IN", "GROUP", "GraphLimits", "find_renderer", "installed_renderers"]

GROUP = "ingresskit.renderers"
BUILT_IN = ("inprocess", "haproxy", "nginx")
"""The package's own; no other package can take their names."""


class GraphLimits(Protocol):
    """What of a `Renderer` a dry run asks: its artifact, of whatever type, is not made."""

    @property
    def effects(self) -> PolicyEffects:
        """As `Renderer.effects`."""
        ...

    def restrict(self, graph: RouteGraph) -> Restricted:
        """As `Renderer.restrict`."""
        ...


def find_renderer(name: str) -> Callable[[], GraphLimits]:
    """What makes the renderer called *name*, as its oldest program can do it.

    Calling it raises a `ConfigurationError` when another package's cannot be loaded.

    Raises:
        ValueError: No renderer has that name.
    """
    match name:
        case "inprocess":
            return _inprocess
        case "haproxy":
            return _haproxy
        case "nginx":
            return _nginx
        case _:
            installed = installed_renderers()
            if name not in installed:
                names = [*BUILT_IN, *sorted(installed)]
                near = difflib.get_close_matches(name, names, n=1)
                known = f"{', '.join(names[:-1])} and {names[-1]}"
                what = f"known; did you mean {near[0]}?" if near else f"one of {known}"
                raise ValueError(f"{name!r} is not {what}")
            return lambda: _load(installed[name])


def installed_renderers() -> dict[str, EntryPoint]:
    """Those that other packages register, by name; without those that have a name of the package's own."""
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}


def _load(entry: EntryPoint) -> GraphLimits:
    origin = f"of {entry.dist.name}" if entry.dist else f"at {entry.value}"
    try:
        renderer = entry.load()()
    except Exception as exc:
        raise ConfigurationError(f"the renderer {entry.name} {origin} cannot be loaded: {exc!r}") from exc
    if not isinstance(renderer, Renderer):
        raise ConfigurationError(
            f"the renderer {entry.name} {origin} is a {type(renderer).__name__}, not an ingresskit.Renderer"
        )
    return cast("GraphLimits", renderer)


def _inprocess() -> GraphLimits:
    from ingresskit.render.inprocess import InProcessRenderer

    return InProcessRenderer(effects=installed_effects())


def _haproxy() -> GraphLimits:
    from ingresskit.render.haproxy import HaproxyRenderer

    return HaproxyRenderer()


def _nginx() -> GraphLimits:
    """In its static mode, which needs no module."""
    from ingresskit.render.nginx import NginxRenderer, NginxSettings

    return NginxRenderer(NginxSettings(state="/run/ingresskit", https=("0.0.0.0:8443",)))
