"""Rendering for HAProxy: a fixed program, and the graph as the data it works on."""

from ingresskit.render.haproxy.artifact import (
    Block,
    Bundle,
    HaproxyArtifact,
    Identity,
    MapName,
    MapRow,
    Needs,
    Pointer,
    Server,
    ServerNames,
    ServerTls,
    SlotBackend,
    SlotClass,
)
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.files import (
    CERTIFICATE_LIST,
    DEFAULT_CERTIFICATE,
    PROGRAM,
    certificate_files,
    certificate_line,
    configuration,
    map_text,
)
from ingresskit.render.haproxy.program import program, slot_name
from ingresskit.render.haproxy.renderer import HaproxyRenderer
from ingresskit.render.haproxy.servers import server_words
from ingresskit.render.haproxy.settings import Bind, HaproxySettings

__all__ = [
    "CERTIFICATE_LIST",
    "DEFAULT_CERTIFICATE",
    "PROGRAM",
    "Bind",
    "Block",
    "Bundle",
    "Capabilities",
    "HaproxyArtifact",
    "HaproxyRenderer",
    "HaproxySettings",
    "Identity",
    "MapName",
    "MapRow",
    "Needs",
    "Pointer",
    "Server",
    "ServerNames",
    "ServerTls",
    "SlotBackend",
    "SlotClass",
    "certificate_files",
    "certificate_line",
    "configuration",
    "map_text",
    "program",
    "server_words",
    "slot_name",
]
