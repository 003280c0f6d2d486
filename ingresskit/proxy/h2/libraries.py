"""Which library frames HTTP/2: the faster one of those that are installed."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING, Final

from ingresskit.errors import ConfigurationError

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Engine, EngineLimits, EngineReceiver

__all__ = ["has_http2", "make_engine"]

_LIBRARIES: Final = ("ngh2", "h2")


@cache
def has_http2() -> bool:
    """Whether a library for the frames is installed: the extra ``http2``."""
    return any(importlib.util.find_spec(name) is not None for name in _LIBRARIES)


def make_engine(receiver: EngineReceiver, limits: EngineLimits, *, server: bool, library: str = "") -> Engine:
    """A connection that has just begun; its first `Engine.output` has preface and settings.

    Args:
        receiver: Of what the peer sends.
        limits: For the peer.
        server: Which side is ours.
        library: ``"ngh2"`` or ``"h2"``; empty is the first one that is installed.

    Raises:
        ConfigurationError: The library is not installed.
    """
    wanted = (library,) if library else _LIBRARIES
    name = next((name for name in wanted if importlib.util.find_spec(name) is not None), None)
    if name == "ngh2":
        from ingresskit.proxy.h2.ngh2_engine import Ngh2Engine

        return Ngh2Engine(receiver, limits, server=server)
    if name == "h2":
        from ingresskit.proxy.h2.h2_engine import H2Engine

        return H2Engine(receiver, limits, server=server)
    raise ConfigurationError("HTTP/2 needs the package ngh2 or h2: pip install ingresskit[http2]")
