"""``streams.conf``: reads server names, and passes connections on. Both modes have it while there are any.

The addresses for TLS belong to one server of the ``stream`` block then. It looks at the first message of a
handshake and hands each connection over to a Unix socket, with a PROXY header so that the client's address
stays: to that of its host, where that is passed on, else to that of the ``http`` block, where TLS ends.

nginx has no program here, so endpoints stand in the file, and a change of them is a reload: connections that
stand stay with the workers that took them, for as long as `NginxSettings.shutdown_timeout`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from ingresskit.graph import (
    Backend,
    BackendKey,
    Close,
    Forward,
    RouteGraph,
    StreamRoute,
    WeightedBackend,
)
from ingresskit.policies import Algorithm, AllowedSources, DeniedSources, LoadBalancing, Timeouts
from ingresskit.render.nginx.artifact import ConfigFile, config_file
from ingresskit.render.nginx.names import host_id, upstream_name
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import Argument, Block, Directive, Node, Value, Variable
from ingresskit.render.nginx.values import duration

__all__ = ["StreamsFile"]

_TARGET: Final = Variable("ik_target")
_BALANCE: Final[Mapping[Algorithm, tuple[Directive, ...]]] = {
    Algorithm.ROUND_ROBIN: (),
    Algorithm.LEAST_CONNECTIONS: (Directive("least_conn"),),
    Algorithm.EWMA: (Directive("least_conn"),),
    Algorithm.RANDOM: (Directive("random", ("two", "least_conn")),),
    Algorithm.CLIENT_HASH: (Directive("hash", (Value(Variable("remote_addr")), "consistent")),),
}


class StreamsFile:
    """The file, from one graph to the next.

    Args:
        settings: Of the nginx.
    """

    def __init__(self, settings: NginxSettings) -> None:
        self._settings = settings
        self._given: RouteGraph | None = None
        self._streams: Mapping[str, StreamRoute] = {}
        self._file: ConfigFile | None = None

    def follow(self, graph: RouteGraph) -> ConfigFile | None:
        """The file for *graph*; ``None``: nothing is passed on."""
        keys = None if self._given is None else graph.changed_since(self._given)
        self._given = graph
        if not self._settings.https:
            return None
        names = graph.by_host if keys is None else keys.hosts
        kept = (
            {} if keys is None else {name: self._streams[name] for name in self._streams if name not in names}
        )
        found = {
            name: host.stream
            for name in names
            if (host := graph.by_host.get(name)) is not None and host.stream is not None
        }
        self._streams = {**kept, **found}
        if not self._streams:
            self._file = None
            return None
        file = config_file("streams.conf", tuple(self._nodes(graph)))
        if self._file is None or self._file.content != file.content:
            self._file = file
        return self._file

    def _nodes(self, graph: RouteGraph) -> Iterator[Node]:
        settings, streams = self._settings, dict(sorted(self._streams.items()))
        wild = {name for name in streams if name.startswith("*.")}
        rows = [Directive("default", (f"unix:{settings.inner_socket}",))]
        for name in streams:
            rows.append(Directive(_pattern(name), (f"unix:{_socket(settings, name)}",)))
            if name not in wild:
                rows.append(Directive(f"{name}.", (f"unix:{_socket(settings, name)}",)))
        if wild:
            # What ends here below a wildcard that is passed on: an exact name goes before a pattern.
            for name in graph.by_host:
                if name not in streams and f"*.{name.partition('.')[2]}" in wild:
                    rows += (Directive(text, (f"unix:{settings.inner_socket}",)) for text in (name, f"{name}."))
        body: list[Node] = [
            Directive("access_log", ("off",)),
            Directive("map_hash_max_size", ("131072",)),
            Directive("map_hash_bucket_size", ("512",)),
            Directive("preread_buffer_size", ("64k",)),
            Directive("preread_timeout", (duration(settings.handshake_timeout),)),
            Directive("proxy_connect_timeout", (duration(settings.connect_timeout),)),
            Directive("proxy_next_upstream_tries", ("0",)),
            Directive("proxy_half_close", ("on",)),
            Block("map", (Value(Variable("ssl_preread_server_name")), _TARGET), tuple(rows)),
            Block(
                "server",
                (),
                (
                    *(Directive("listen", (address,)) for address in settings.https),
                    Directive("ssl_preread", ("on",)),
                    Directive("proxy_protocol", ("on",)),
                    # The socket behind it has time-outs of its own.
                    Directive("proxy_timeout", (duration(_PATIENCE),)),
                    Directive("proxy_pass", (Value(_TARGET),)),
                ),
            ),
        ]
        used: dict[BackendKey, Backend] = {}
        for name, stream in streams.items():
            body += self._host(name, stream, graph.backends, used)
        body += (_upstream(backend) for _, backend in sorted(used.items()))
        yield Block("stream", (), tuple(body))

    def _host(
        self,
        name: str,
        stream: StreamRoute,
        backends: Mapping[BackendKey, Backend],
        used: dict[BackendKey, Backend],
    ) -> Iterator[Node]:
        settings, policies = self._settings, stream.policies
        body: list[Node] = [
            Directive("listen", (f"unix:{_socket(settings, name)}", "proxy_protocol")),
            Directive("set_real_ip_from", ("unix:",)),
        ]
        if (denied := policies.get(DeniedSources)) is not None:
            body += (Directive("deny", (str(network),)) for network in denied.networks)
        if (allowed := policies.get(AllowedSources)) is not None and allowed.networks:
            body += (Directive("allow", (str(network),)) for network in allowed.networks)
            body.append(Directive("deny", ("all",)))
        shares: tuple[WeightedBackend, ...] = ()
        if isinstance(stream.action, Forward):
            shares = tuple(
                share
                for share in stream.action.backends
                if (backend := backends.get(share.key)) is not None and backend.endpoints
            )
        if not shares or isinstance(stream.action, Close):
            body.append(Directive("return", ("",)))
            yield Block("server", (), tuple(body), stream.origin)
            return
        used.update((share.key, backends[share.key]) for share in shares)
        timeouts = policies.get(Timeouts) or Timeouts()
        if timeouts.connect is not None:
            body.append(Directive("proxy_connect_timeout", (duration(timeouts.connect),)))
        body.append(Directive("proxy_timeout", (duration(timeouts.read or settings.stream_idle_timeout),)))
        target: Argument = _name(shares[0].key)
        if len(shares) > 1:
            variable = Variable(f"ik_split_{host_id(name)}")
            yield _split(variable, shares)
            target = Value(variable)
        body.append(Directive("proxy_pass", (target,)))
        yield Block("server", (), tuple(body), stream.origin)


_PATIENCE: Final = timedelta(days=1)


def _pattern(host: str) -> str:
    """What stands in a map for a rule host: our wildcards take exactly one label."""
    return rf"~*^[^.]+{re.escape(host[1:])}\.?$" if host.startswith("*.") else host


def _socket(settings: NginxSettings, host: str) -> str:
    return f"{settings.state}/passed-{host_id(host)}.sock"


def _name(key: BackendKey) -> str:
    return upstream_name(key)


def _upstream(backend: Backend) -> Block:
    policy = backend.policies.get(LoadBalancing) or LoadBalancing()
    servers = tuple(
        Directive("server", (_address(item.address, item.port), "max_fails=1", "fail_timeout=2s"))
        for item in backend.endpoints
    )
    zone = Directive("zone", (_name(backend.key), f"{128 << (len(servers) // 64).bit_length()}k"))
    return Block("upstream", (_name(backend.key),), (zone, *_BALANCE[policy.algorithm], *servers))


def _split(variable: Variable, shares: tuple[WeightedBackend, ...]) -> Block:
    """A variable that is one of *shares* for each connection, by weight, to one part in ten thousand."""
    total = sum(share.weight for share in shares)
    ordered = sorted(shares, key=lambda share: share.weight)
    rows: list[Directive] = []
    for share in ordered[:-1]:
        part = round(10000 * share.weight / total)
        if part:
            rows.append(Directive(f"{part / 100:.2f}%", (_name(share.key),)))
    # The largest share is the rest, so that rounding takes nothing from a small one.
    rows.append(Directive("*", (_name(ordered[-1].key),)))
    seed = Value(
        *(Variable("remote_addr"), ":", Variable("remote_port"), ":", Variable("connection")), Variable("msec")
    )
    return Block("split_clients", (seed, variable), tuple(rows))


def _address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
