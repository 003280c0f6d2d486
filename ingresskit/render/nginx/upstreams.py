"""Endpoints: an upstream for each way a backend is used, and what logs call it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingresskit.graph import ANY_HOST, Backend, BackendKey
from ingresskit.policies import Algorithm
from ingresskit.render.nginx.artifact import ConfigFile
from ingresskit.render.nginx.hosts import Upstream
from ingresskit.render.nginx.main import duration
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import Block, Directive, Node, Value, Variable, write

__all__ = ["UpstreamsFile", "kept_connections", "upstream_labels", "upstream_node"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_METHODS: Mapping[Algorithm, tuple[Directive, ...]] = {
    Algorithm.ROUND_ROBIN: (),
    Algorithm.LEAST_CONNECTIONS: (Directive("least_conn"),),
    Algorithm.RANDOM: (Directive("random"),),
    Algorithm.CLIENT_HASH: (Directive("hash", (Value(Variable("remote_addr")), "consistent")),),
}


def upstream_node(upstream: Upstream, backend: Backend, settings: NginxSettings, kept: int) -> Node:
    """The ``upstream`` block of a backend that has endpoints.

    After a failure an endpoint is left alone for two seconds, if there is another one.
    """
    servers = tuple(
        Directive("server", (_address(item.address, item.port), "max_fails=1", "fail_timeout=2s"))
        for item in backend.endpoints
    )
    # Shared, so that all workers know how busy an endpoint is.
    zone = Directive("zone", (upstream.name, f"{64 * (1 + len(servers) // 64)}k"))
    shared = (zone,) if upstream.algorithm is Algorithm.LEAST_CONNECTIONS else ()
    keepalive = (
        Directive("keepalive", (str(kept),)),
        Directive("keepalive_timeout", (duration(settings.upstream_idle_timeout),)),
        Directive("keepalive_requests", ("100000",)),
    )
    body = (*shared, *_METHODS[upstream.algorithm], *servers, *(() if upstream.host == ANY_HOST else keepalive))
    return Block("upstream", (upstream.name,), body)


def upstream_labels(upstreams: Mapping[str, BackendKey]) -> Node:
    """A map from the name of an upstream to ``namespace-service-port``, which is what logs show."""
    rows = (
        Directive(name, (f"{key.namespace}-{key.service}-{key.port}",))
        for name, key in upstreams.items()
        # The API server lets no other names through; whoever does gets no label.
        if _NAME.fullmatch(key.namespace) and _NAME.fullmatch(key.service)
    )
    names = (Variable("proxy_host"), Variable("ik_backend"))
    return Block("map", names, (Directive("default", ("-",)), *rows))


def kept_connections(upstreams: int, settings: NginxSettings) -> int:
    """How many idle connections a worker keeps for each of so many upstreams: a power of two.

    All together at most a quarter of what a worker may have, so that they never keep clients out.
    """
    each = settings.worker_connections // (4 * max(1, upstreams))
    return max(1, min(64, 1 << each.bit_length() >> 1))


class UpstreamsFile:
    """The file of upstreams, and what each was written from."""

    def __init__(self, settings: NginxSettings) -> None:
        self._settings = settings
        self._written: dict[Upstream, tuple[Backend, int, bytes]] = {}
        self._labels: tuple[tuple[Upstream, ...], bytes] = ((), b"")
        self._file: ConfigFile | None = None

    def render(self, upstreams: tuple[Upstream, ...], backends: Mapping[BackendKey, Backend]) -> ConfigFile:
        """The file for *upstreams*, each of which has endpoints in *backends*."""
        kept = kept_connections(len(upstreams), self._settings)
        written: dict[Upstream, tuple[Backend, int, bytes]] = {}
        changed = self._file is None or len(upstreams) != len(self._written)
        for upstream in upstreams:
            backend = backends[upstream.key]
            before = self._written.get(upstream)
            if before is None or before[0] is not backend or before[1] != kept:
                node = upstream_node(upstream, backend, self._settings, kept)
                before = (backend, kept, write([node]).content)
                changed = True
            written[upstream] = before
        self._written = written
        if not changed and self._file is not None:
            return self._file
        if self._labels[0] != upstreams or not self._labels[1]:
            labels = upstream_labels({upstream.name: upstream.key for upstream in upstreams})
            self._labels = (upstreams, write([labels]).content)
        content = b"".join([self._labels[1], *(item[2] for item in written.values())])
        if self._file is None or self._file.content != content:
            self._file = ConfigFile(path="upstreams.conf", content=content)
        return self._file


def _address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
