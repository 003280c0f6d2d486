"""The part of the dynamic mode's ``nginx.conf`` that sends gRPC to endpoints.

``grpc_pass`` takes no path: what the endpoint gets is the request's own, which ``lua/ingresskit/grpc.lua`` sets
where it is another one. A call may be silent for an hour in both directions, unless its route says otherwise:
its client knows for how long it wants to wait.

Source: nginx, ``ngx_http_grpc_module``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import Argument, Block, Directive, Node, Value, Variable
from ingresskit.render.nginx.values import duration

__all__ = ["GRPC_POOL", "grpc_forwarding", "grpc_locations"]

GRPC_POOL: Final = "ingresskit_grpc"
"""The upstream whose connections speak HTTP/2: those of others must not be taken for it."""

_SILENCE: Final = "1h"
# Said otherwise, or not at all, in HTTP/2.
_NOT_IN_HTTP2: Final = frozenset(("Connection", "Upgrade"))


def grpc_forwarding(
    settings: NginxSettings,
    headers: Iterable[tuple[str, Argument]],
    not_obeyed: tuple[str, ...],
    hidden: Iterable[str],
) -> Iterator[Node]:
    """The directives of a server.

    Args:
        settings: Of the nginx.
        headers: What endpoints are told, as over HTTP/1.1.
        not_obeyed: Fields of endpoints that must not steer nginx.
        hidden: Fields of endpoints that are not passed on.
    """
    yield _d("grpc_buffer_size", str(settings.response_header_bytes))
    yield _d("grpc_next_upstream", "error", "timeout")
    yield _d("grpc_next_upstream_tries", "0")
    yield _d("grpc_connect_timeout", duration(settings.connect_timeout))
    yield _d("grpc_read_timeout", _SILENCE)
    yield _d("grpc_send_timeout", duration(settings.send_timeout))
    yield _d("grpc_ssl_server_name", "on")
    yield Directive("grpc_ssl_name", (Value(Variable("ik_name")),))
    yield _d("grpc_ssl_protocols", "TLSv1.2", "TLSv1.3")
    for name, value in headers:
        if name not in _NOT_IN_HTTP2:
            yield Directive("grpc_set_header", (name, value))
    # The client's own is gone by now. Servers of gRPC's C library refuse calls without it.
    yield _d("grpc_set_header", "TE", "trailers")
    yield _d("grpc_ignore_headers", *not_obeyed)
    for name in ("Server", "Date", "X-Pad", *not_obeyed):
        yield _d("grpc_pass_header", name)
    for name in hidden:
        yield _d("grpc_hide_header", name)


def grpc_locations(powers: Iterable[int]) -> Iterator[Node]:
    """The locations of a server; *powers* are those of two that are the largest bodies."""
    forward = (
        _d("client_body_timeout", _SILENCE),
        Directive("grpc_pass", (Value(Variable("ik_scheme"), "://", Variable("ik_pool")),)),
    )
    yield Block("location", ("@grpc",), forward)
    for power in powers:
        limit = _d("client_max_body_size", str(2**power))
        yield Block("location", (f"@grpc_{power}",), (limit, *forward))


def _d(name: str, *args: Argument) -> Directive:
    return Directive(name, args)
