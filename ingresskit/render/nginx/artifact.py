"""What one nginx needs to serve a graph, plane by plane.

    nginx.conf           the main file: the same for every graph, changes with settings only
    normal-form.conf     paths are brought into normal form   ⎫
    clients.conf         who the client is                    ⎬ as the main file, the same
    request-fields.conf  what endpoints are told              ⎪ for every graph
    server.conf          what each server begins with         ⎭
    generation.conf      the digest of all that stands in files, to be asked for on the status socket
    server-names.conf    which certificate serves which TLS server name
    upstreams.conf       endpoints
    streams.conf         connections that are passed on, while there are any
    hosts/<id>.conf      one virtual host each
    authorities/*.pem    those who sign certificates; not for nginx to include
    origins.json         which object asked for which lines of these; not for nginx

These lie in one folder and are included by names relative to it; every other path in them is absolute
(`NginxSettings.state`). Certificates are no part of that folder: they are looked up at each handshake,
so that a new one needs no reload. In the dynamic mode there are no files of hosts and upstreams: what
they say is in `Tables`, which the Lua program gets over its socket.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingresskit.diagnostics import printable
from ingresskit.graph import BackendKey, Certificate, Endpoint
from ingresskit.policies import Origin
from ingresskit.render.files import RenderedFile
from ingresskit.render.nginx.masking import masked_fields
from ingresskit.render.nginx.tree import Block, Directive, Node, Span, Variable, write

__all__ = ["DEFAULT_CERTIFICATE", "ConfigFile", "Mode", "NginxArtifact", "Tables", "config_file"]

DEFAULT_CERTIFICATE = "default"
"""The id of the certificate that serves all other server names, and none."""


class Mode(StrEnum):
    """How routes, endpoints and certificates reach the running nginx."""

    STATIC = "static"
    """By files and reloads; needs no module."""
    DYNAMIC = "dynamic"
    """By tables that a Lua program reads; files change for listeners and settings only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One file of configuration. Equal when path and content are.

    Attributes:
        path: Relative: ``"nginx.conf"``, ``"hosts/3f2a….conf"``.
        content: Its bytes.
        spans: Which lines were asked for by which object, sorted by first line, outer ones first.
        digest: SHA-256 of *content*, lower-case hexadecimal.
    """

    path: str
    content: bytes = field(repr=False)
    spans: tuple[Span, ...] = field(default=(), repr=False, compare=False)
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.content).hexdigest())

    def origin_of(self, line: int) -> Origin | None:
        """The origin of a line, the innermost of several; ``None`` when no object asked for it.

        Args:
            line: As nginx counts in ``in FILE:LINE``, from 1.
        """
        for span in reversed(self.spans[: bisect_right(self.spans, line, key=lambda item: item.first)]):
            if span.last >= line:
                return span.origin
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The rows of the dynamic mode, each as canonical JSON (sorted keys, no spaces), by its key.

    A row that did not change is the same object in successive artifacts.

    Attributes:
        hosts: By rule host: its routes.
        backends: By backend id: its endpoints.
        server_names: By TLS server name (a name, or ``*.`` and a name): the id of its certificate.
        settings: What concerns all hosts.
    """

    hosts: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    backends: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    server_names: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    settings: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxArtifact:
    """Everything one nginx needs to serve a graph. Parts that did not change are the same objects.

    Attributes:
        mode: Which of the two.
        main: ``nginx.conf``.
        common: What ``nginx.conf`` and hosts include; empty in dynamic mode.
        server_names: ``server-names.conf``: server name to certificate id; ``None`` in dynamic mode.
        upstreams: ``upstreams.conf``; ``None`` in dynamic mode.
        streams: ``streams.conf``; ``None``: no connection is passed on.
        hosts: By rule host, its file; empty in dynamic mode.
        authorities: By path, the files with those who sign certificates of clients and endpoints.
        endpoints: By the name of an upstream, where nginx looks them up; empty where they stand in files.
        certificates: By id (of `DEFAULT_CERTIFICATE`, or a hash). Whoever applies this puts the chain
            and the key of each where `NginxSettings.certificate_path` says, and a self-signed one for
            `DEFAULT_CERTIFICATE` when it is not among them.
        tables: The rows of the dynamic mode; ``None`` in static mode.
        program: The Lua program of the dynamic mode and its settings; empty in static mode.
        backend_keys: By the name of an upstream, or in dynamic mode the id of a backend, what it stands
            for; for counts and logs.
    """

    mode: Mode
    main: ConfigFile
    common: tuple[ConfigFile, ...] = ()
    server_names: ConfigFile | None = None
    upstreams: ConfigFile | None = None
    streams: ConfigFile | None = None
    hosts: Mapping[str, ConfigFile] = field(default_factory=dict[str, ConfigFile])
    authorities: Mapping[str, ConfigFile] = field(default_factory=dict[str, ConfigFile])
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict[str, "tuple[Endpoint, ...]"])
    certificates: Mapping[str, Certificate] = field(default_factory=dict[str, Certificate])
    tables: Tables | None = None
    program: tuple[RenderedFile, ...] = ()
    backend_keys: Mapping[str, BackendKey] = field(
        default_factory=dict[str, BackendKey], repr=False, compare=False
    )

    def config_files(self) -> Iterator[ConfigFile]:
        """Every file of configuration but ``generation.conf``: the main one first, hosts in their order."""
        yield self.main
        yield from self.authorities.values()
        yield from self.common
        if self.server_names is not None:
            yield self.server_names
        if self.upstreams is not None:
            yield self.upstreams
        if self.streams is not None:
            yield self.streams
        yield from self.hosts.values()

    @property
    def generation(self) -> str:
        """SHA-256 over all configuration files: what nginx reports on its status socket once they are live."""
        total = hashlib.sha256()
        for item in self.config_files():
            total.update(f"{item.path}\0{item.digest}\0".encode())
        for file in self.program:
            total.update(f"{file.path}\0{len(file.content)}\0".encode())
            total.update(file.content)
        return total.hexdigest()

    def files(self) -> Iterator[RenderedFile]:
        """The folder nginx is started with: configuration files, program, ``generation.conf``, `origins`."""
        yield from self.program
        for item in self.config_files():
            # Hosts alone hold what policies say.
            yield RenderedFile.of(
                item.path, item.content, mask=masked_fields if item.path.startswith("hosts/") else None
            )
        yield RenderedFile.of("generation.conf", _generation_file(self.generation))
        if self.hosts:
            yield self.origins()

    def origins(self) -> RenderedFile:
        """``origins.json``: for each file of a host, the host, and who asked for which lines.

        ``{"hosts/<id>.conf": {"host": "shop.test", "lines": [[first, last, object, field], …]}, …}``;
        lines count from 1, outer ones come first. Texts of users stand here, so that none has to in a comment.
        """
        told = {
            item.path: {
                "host": host,
                "lines": [
                    (span.first, span.last, printable(str(span.origin.subject)), printable(span.origin.field))
                    for span in item.spans
                ],
            }
            for host, item in self.hosts.items()
        }
        return RenderedFile.text("origins.json", json.dumps(told, indent=1) + "\n")

    def origin_of(self, path: str, line: int) -> Origin | None:
        """Who asked for a line of a file.

        Args:
            path: As nginx names it in ``in FILE:LINE``; what counts is its end.
            line: From 1.
        """
        for item in self.config_files():
            if path == item.path or path.endswith(f"/{item.path}"):
                return item.origin_of(line)
        return None


def config_file(path: str, nodes: tuple[Node, ...]) -> ConfigFile:
    """The file of *nodes*.

    Raises:
        TextRefused: A value in them cannot be written.
    """
    written = write(nodes)
    return ConfigFile(path=path, content=written.content, spans=written.spans)


def _generation_file(generation: str) -> bytes:
    # A map of nothing: the only way to a constant that needs no rewrite module.
    names = (Variable("host"), Variable("ik_generation"))
    return write([Block("map", names, (Directive("default", (generation,)),))]).content
