"""The dynamic mode: a configuration that no graph changes, and tables of rows for a Lua program."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, RouteGraph, VirtualHost
from ingresskit.render.base import RenderedFile
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, Mode, NginxArtifact, Tables, config_file
from ingresskit.render.nginx.base import ModeRenderer, certificates_by_id
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.dynamic.main import dynamic_main
from ingresskit.render.nginx.dynamic.program import program_files, program_settings
from ingresskit.render.nginx.dynamic.rows import backend_id, backend_row, host_row, to_json
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.policies import DYNAMIC_HANDLERS
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.remember import Remembered

__all__ = ["DynamicRenderer"]


class DynamicRenderer(ModeRenderer):
    """Makes the tables of nginx's dynamic mode. A row that did not change is the same object as before.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program; it has Lua.

    Raises:
        ConfigurationError: The program has no Lua, or cannot do what the settings ask for.
    """

    handlers = DYNAMIC_HANDLERS
    matches_patterns: ClassVar[bool] = True
    matches_variants: ClassVar[bool] = True

    def __init__(self, settings: NginxSettings, capabilities: Capabilities) -> None:
        super().__init__(settings, capabilities)
        if not capabilities.lua:
            raise ConfigurationError(
                "the dynamic mode needs an nginx with its Lua module, which this one lacks"
            )
        self._main = config_file("nginx.conf", dynamic_main(settings, capabilities))
        self._program = (
            *program_files(),
            RenderedFile.of("settings.json", program_settings(settings)),
        )
        self._hosts: Remembered[str, VirtualHost, bytes] = Remembered(host_row)
        self._backends: Remembered[BackendKey, Backend, bytes] = Remembered(backend_row)

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        return NginxArtifact(
            mode=Mode.DYNAMIC,
            main=self._main,
            program=self._program,
            certificates=certificates_by_id(graph),
            tables=Tables(
                hosts=self._hosts.follow({host.host: host for host in graph.virtual_hosts}),
                backends={backend_id(key): row for key, row in self._backends.follow(graph.backends).items()},
                server_names={
                    name: _quoted(DEFAULT_CERTIFICATE if key is None else certificate_id(key))
                    for name, key in graph.server_names.items()
                },
                settings=_settings(graph),
            ),
            backend_keys={backend_id(key): key for key in graph.backends},
        )


def _quoted(identifier: str) -> bytes:
    return b'"' + identifier.encode("ascii") + b'"'


def _settings(graph: RouteGraph) -> bytes:
    members: dict[str, object] = {"fallthrough": graph.host_fallthrough}
    if not graph.paths.merge_slashes:
        members["keep_slashes"] = True
    if graph.paths.strict:
        members["strict"] = True
    return to_json(members)
