"""The dynamic mode: a configuration that no graph changes, and tables of rows for a Lua program."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import ClassVar, Final, NamedTuple, Never, cast

from typing_extensions import override

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, RouteGraph, VirtualHost
from ingresskit.models import ObjectKey
from ingresskit.render.base import RenderedFile
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, Mode, NginxArtifact, Tables, config_file
from ingresskit.render.nginx.base import CertificatesById, ModeRenderer
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.dynamic.main import dynamic_main
from ingresskit.render.nginx.dynamic.program import program_files, program_settings
from ingresskit.render.nginx.dynamic.rows import backend_id, backend_row, host_row, to_json
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.policies import DYNAMIC_HANDLERS
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.policies import HandlerTable, PolicyHandler
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

    handlers: HandlerTable[PolicyHandler[Never, Never]] = DYNAMIC_HANDLERS
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
        self._backends: Remembered[BackendKey, Backend, _Row] = Remembered(_backend)
        self._server_names: Remembered[str, ObjectKey | None, bytes] = Remembered(_served)
        self._certificates = CertificatesById()
        self._given: RouteGraph | None = None

    @override
    def render(self, graph: RouteGraph) -> NginxArtifact:
        # No graph until this one is rendered: after an error, everything is looked at.
        given, self._given = self._given, None
        keys = None if given is None else graph.changed_since(given)
        hosts = self._hosts.follow(graph.by_host, None if keys is None else keys.hosts)
        backends = self._backends.follow(graph.backends, None if keys is None else keys.backends).values()
        served = self._server_names.follow(graph.server_names, None if keys is None else keys.server_names)
        certificates = self._certificates.follow(graph, None if keys is None else keys.certificates)
        self._given = graph
        return NginxArtifact(
            mode=Mode.DYNAMIC,
            main=self._main,
            program=self._program,
            certificates=certificates,
            tables=Tables(
                hosts=hosts,
                # Here and below one call, which runs no Python per backend.
                backends=dict(map(_ID_AND_ROW, backends)),
                server_names=served,
                settings=_settings(graph),
            ),
            backend_keys=dict(map(_ID_AND_KEY, backends)),
        )


class _Row(NamedTuple):
    """The row of a backend, and what it is called."""

    id: str
    key: BackendKey
    row: bytes


_ID_AND_ROW: Final = cast("Callable[[_Row], tuple[str, bytes]]", attrgetter("id", "row"))
_ID_AND_KEY: Final = cast("Callable[[_Row], tuple[str, BackendKey]]", attrgetter("id", "key"))


def _backend(backend: Backend) -> _Row:
    return _Row(backend_id(backend.key), backend.key, backend_row(backend))


def _served(secret: ObjectKey | None) -> bytes:
    identifier = DEFAULT_CERTIFICATE if secret is None else certificate_id(secret)
    return b'"' + identifier.encode("ascii") + b'"'


def _settings(graph: RouteGraph) -> bytes:
    members: dict[str, object] = {"fallthrough": graph.host_fallthrough}
    if not graph.paths.merge_slashes:
        members["keep_slashes"] = True
    if graph.paths.strict:
        members["strict"] = True
    return to_json(members)
