"""Endpoints: an upstream for each way a backend is used, and what logs call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Final, NamedTuple, cast

from ingresskit._sorted_map import SortedMap
from ingresskit.graph import ANY_HOST, Backend, BackendKey, Endpoint
from ingresskit.render.delegate import DELEGATE
from ingresskit.render.nginx.artifact import ConfigFile
from ingresskit.render.nginx.names import upstream_name
from ingresskit.render.nginx.policies import STATIC_HANDLERS, StaticDraft
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import Block, Directive, Node, write
from ingresskit.render.nginx.values import duration

__all__ = ["LOOKED_UP_AS", "Upstream", "UpstreamsFile", "kept_connections", "upstream_node"]


class Upstream(NamedTuple):
    """What one upstream of nginx is for.

    Attributes:
        key: The backend.
        host: To endpoints that speak TLS, the one host whose connections it keeps; ``ANY_HOST`` when
            there is no one host, and then connections are not kept. Empty without TLS.
    """

    key: BackendKey
    host: str = ""

    @property
    def name(self) -> str:
        """As `upstream_name`."""
        return upstream_name(self.key, self.host)


class _LookedUp(NamedTuple):
    domain: str
    service: str


LOOKED_UP_AS: Final = _LookedUp("ik", "ik")
"""Endpoints of an upstream are the SRV records of ``_<service>._tcp.<upstream>.<domain>``."""


def upstream_node(
    upstream: Upstream, backend: Backend, settings: NginxSettings, kept: int, *, named: bool = False
) -> Node:
    """The ``upstream`` block of a backend that has endpoints; *named*: they are looked up, see `LOOKED_UP_AS`.

    After a failure an endpoint is left alone for two seconds, if there is another one.
    """
    servers = tuple(
        Directive("server", (_address(item.address, item.port), "max_fails=1", "fail_timeout=2s"))
        for item in backend.endpoints
    )
    # nginx needs up to 1.1 KiB an endpoint. Doubled, not just enough: another size takes a reload.
    zone = Directive("zone", (upstream.name, f"{128 << (len(servers) // 64).bit_length()}k"))
    draft = StaticDraft()
    STATIC_HANDLERS.contribute(backend.policies, draft)
    # Shared, so that all workers know how busy an endpoint is, and which there are.
    shared = (zone,) if named or draft.shares_counts else ()
    if named:
        looked_up = (f"{upstream.name}.{LOOKED_UP_AS.domain}", f"service={LOOKED_UP_AS.service}", "resolve")
        servers = (Directive("server", (*looked_up, "max_fails=1", "fail_timeout=2s")),)
    usual = {"keepalive_timeout": duration(settings.upstream_idle_timeout), "keepalive_requests": "100000"}
    keepalive = (
        Directive("keepalive", (str(kept),)),
        *(Directive(name, (value,)) for name, value in ({**usual, **draft.kept}).items()),
    )
    body = (*shared, *draft.balance, *servers, *(() if upstream.host == ANY_HOST else keepalive))
    return Block("upstream", (upstream.name,), body)


def kept_connections(upstreams: int, settings: NginxSettings) -> int:
    """How many idle connections a worker keeps for each of so many upstreams: a power of two.

    All together at most a quarter of what a worker may have, so that they never keep clients out.
    """
    each = settings.worker_connections // (4 * max(1, upstreams))
    return max(1, min(64, 1 << each.bit_length() >> 1))


class _Written(NamedTuple):
    """An upstream as it stands in the file, and what it was written from."""

    key: BackendKey
    name: str
    backend: Backend
    endpoints: tuple[Endpoint, ...]
    content: bytes


_CONTENT: Final = cast("Callable[[_Written], bytes]", attrgetter("content"))
_NAME_AND_KEY: Final = cast("Callable[[_Written], tuple[str, BackendKey]]", attrgetter("name", "key"))
_NAME_AND_ENDPOINTS: Final = cast(
    "Callable[[_Written], tuple[str, tuple[Endpoint, ...]]]", attrgetter("name", "endpoints")
)


class UpstreamsFile:
    """The file of upstreams, from one graph to the next: those that did not change are not written again.

    Args:
        named: Endpoints are looked up, and stand in `endpoints` instead of the file.

    Attributes:
        keys: By the name of an upstream, its backend.
    """

    def __init__(self, settings: NginxSettings, *, named: bool = False) -> None:
        self._settings = settings
        self._named = named
        self.endpoints: Mapping[str, tuple[Endpoint, ...]] = {}
        self.keys: Mapping[str, BackendKey] = {}
        self._written: SortedMap[Upstream, _Written] = SortedMap(_itself)
        self._by_backend: dict[BackendKey, set[Upstream]] = {}
        self._kept = 0
        self._file: ConfigFile | None = None

    def put(self, upstream: Upstream) -> None:
        """Have *upstream* in the file from now on."""
        self._by_backend.setdefault(upstream.key, set()).add(upstream)

    def drop(self, upstream: Upstream) -> None:
        """Have *upstream* in the file no longer, if it was there."""
        same = self._by_backend.get(upstream.key, set())
        same.discard(upstream)
        if not same:
            self._by_backend.pop(upstream.key, None)
        self._written.drop(upstream)

    def render(
        self, backends: Mapping[BackendKey, Backend], changed: Iterable[BackendKey] | None = None
    ) -> ConfigFile:
        """The file.

        Args:
            backends: In which each upstream has endpoints.
            changed: At least the keys of those that are other objects than before, and of upstreams that
                are new; ``None``: all may be.
        """
        total = sum(map(len, self._by_backend.values()))
        kept = kept_connections(total, self._settings)
        keys = self._by_backend if changed is None or kept != self._kept else changed
        for upstream in [item for key in keys for item in self._by_backend.get(key, ())]:
            backend, before = backends[upstream.key], self._written.get(upstream)
            if before is None or before.backend is not backend or kept != self._kept:
                named = self._named and upstream.key != DELEGATE
                node = upstream_node(upstream, backend, self._settings, kept, named=named)
                content = write([node]).content
                self._written.put(
                    upstream, _Written(upstream.key, upstream.name, backend, backend.endpoints, content)
                )
        self._kept = kept
        # From here on, calls that run no Python per upstream.
        written = self._written.values()
        self.keys = dict(map(_NAME_AND_KEY, written))
        if self._named:
            endpoints = dict(map(_NAME_AND_ENDPOINTS, written))
            for upstream in self._by_backend.get(DELEGATE, ()):
                del endpoints[upstream.name]
            self.endpoints = endpoints
        content = b"".join(map(_CONTENT, written))
        if self._file is None or self._file.content != content:
            self._file = ConfigFile(path="upstreams.conf", content=content)
        return self._file


def _itself(upstream: Upstream) -> Upstream:
    return upstream


def _address(address: str, port: int) -> str:
    if address.startswith("/"):
        return f"unix:{address}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
