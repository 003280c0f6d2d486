"""Rendering for HAProxy: a fixed program, and the graph as the data it works on."""

from ingresskit.render.haproxy.artifact import (
    Block,
    Bundle,
    HaproxyArtifact,
    MapName,
    MapRow,
    Needs,
    Pointer,
    Server,
    ServerNames,
    SlotBackend,
    SlotClass,
)

__all__ = [
    "Block",
    "Bundle",
    "HaproxyArtifact",
    "MapName",
    "MapRow",
    "Needs",
    "Pointer",
    "Server",
    "ServerNames",
    "SlotBackend",
    "SlotClass",
]
