"""Rendering for nginx: the graph as configuration files, or as tables for a Lua program."""

from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, ConfigFile, Mode, NginxArtifact, Tables
from ingresskit.render.nginx.capabilities import OLDEST_VERSION, SAFE_VERSIONS, Capabilities, Version
from ingresskit.render.nginx.renderer import NginxRenderer
from ingresskit.render.nginx.settings import NginxSettings

__all__ = [
    "DEFAULT_CERTIFICATE",
    "OLDEST_VERSION",
    "SAFE_VERSIONS",
    "Capabilities",
    "ConfigFile",
    "Mode",
    "NginxArtifact",
    "NginxRenderer",
    "NginxSettings",
    "Tables",
    "Version",
]
