"""The dynamic mode: a configuration that no graph changes, and tables of rows for a Lua program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import ClassVar, Final, NamedTuple, Never, cast

from typing_extensions import override

from ingresskit.errors import ConfigurationError
from ingresskit.graph import ANY_HOST, Backend, BackendKey, Protocol, RouteGraph, VirtualHost
from ingresskit.models import ObjectKey
from ingresskit.policies import PolicySet
from ingresskit.render.files import RenderedFile
from ingresskit.render.nginx.artifact import (
    DEFAULT_CERTIFICATE,
    ConfigFile,
    Mode,
    NginxArtifact,
    Tables,
    config_file,
)
from ingresskit.render.nginx.authorities import authority_files
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

_GRPC: Final = frozenset(item for item in Protocol if item.is_grpc)


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
        if settings.http2:
            vars(self).update(protocols=self.protocols | _GRPC)
        else:
            self.unspoken: Mapping[Protocol, str] = dict.fromkeys(
                _GRPC, "without HTTP/2 to clients (--http2 on)"
            )
        self._settings = settings
        self._capabilities = capabilities
        self._handshakes: Mapping[str, PolicySet] = {}
        self._servers: Mapping[str, PolicySet] = {}
        self._main = config_file("nginx.conf", dynamic_main(settings, capabilities))
        self._authorities: Mapping[str, ConfigFile] = {}
        self._program = (
            *program_files(),
            RenderedFile.of("settings.json", program_settings(settings), secret=bool(settings.affinity_key)),
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
        self._follow_handshakes(graph)
        self._given = graph
        return NginxArtifact(
            mode=Mode.DYNAMIC,
            main=self._main,
            program=self._program,
            authorities=self._authorities,
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

    def _follow_handshakes(self, graph: RouteGraph) -> None:
        """Note the hosts that changed; nearly all have nothing to say in a handshake."""
        changed = {*self._hosts.gone, *self._hosts.changed}
        found = {
            name: policies
            for name in self._hosts.changed
            if (policies := graph.by_host[name].policies.of_handshake())
        }
        if not found and not self._handshakes:
            return
        kept = {name: item for name, item in self._handshakes.items() if name not in changed}
        self._handshakes = {**kept, **found}
        servers = dict(self._handshakes)
        if any(name.startswith("*") for name in servers):
            # Else the server of the wildcard would ask the clients of the names below it too.
            for name in graph.by_host:
                if name != ANY_HOST and (ANY_HOST in servers or f"*.{name.partition('.')[2]}" in servers):
                    servers.setdefault(name, PolicySet())
        servers = dict(sorted(servers.items()))
        if servers == self._servers:
            return
        self._servers = servers
        self._main = config_file("nginx.conf", dynamic_main(self._settings, self._capabilities, servers))
        files = (file for policies in servers.values() for file in authority_files(policies))
        self._authorities = {file.path: file for file in files}


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
