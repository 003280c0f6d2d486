"""What an operator can set on HAProxy: listeners, time-outs, limits, whom to believe.

All of it stands in the program: a change is a reload, or for listeners a new process.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError
from ingresskit.policies.values import Network

__all__ = ["Bind", "HaproxySettings"]


class Bind(NamedTuple):
    """An address to listen at: an IP address, ``"::"`` included (IPv6 only then), and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxySettings:
    """Settings of the program. Names and defaults are those of the in-process proxy where it has them.

    Attributes:
        http: Where plain HTTP is taken.
        https: Where TLS is taken.
        http2: Offer HTTP/2 to clients that speak TLS.
        connect_timeout: For a connection to an endpoint.
        read_timeout: How long an endpoint may be silent, or take nothing; also how long a tunnel may be
            silent. HAProxy has one time-out for both directions.
        header_timeout: For a whole request head.
        body_timeout: How long a client may send, or take, nothing.
        idle_timeout: For a client connection between two requests.
        handshake_timeout: For the first message of a TLS handshake, where connections are passed on by their
            server name.
        stream_idle_timeout: How long a connection that is passed on may be silent in both directions.
        max_connections: Client connections at a time; further ones wait.
        max_request_line_bytes: A longer target gets 414.
        buffer_bytes: What HAProxy holds of a request or a response at a time; a head must fit in it, less
            10 KiB that are kept for what policies add to it.
        max_headers: Fields in a head; more get 400.
        trusted_proxies: Peers whose ``X-Forwarded-*`` and ``Forwarded`` are believed.
        proxy_protocol: Peers in *trusted_proxies* must open with a PROXY protocol header; that of other
            peers is not read.
        underscores_in_headers: Pass on header fields with ``_`` in their names. Those that could be taken
            for a field of the proxy's own (``X_Real_IP``) or one that the route sets or removes still go.
        public_http_port: The port that clients reach plain HTTP at, for ``X-Forwarded-Port`` where neither a
            trusted proxy, a PROXY header nor ``Host`` names one.
        public_https_port: The same of TLS; also where plain HTTP is redirected to, unless ``Host`` names the
            port of one of *http* itself: then to that of the first *https*. ``None``: 443, and without
            *https* nothing is redirected to TLS.
        log_socket: The path of a datagram socket that access log lines are sent to; ``None``: no log.
        tls_socket: Where connections whose TLS ends here get from the part that reads server names to the part
            that ends TLS, while a host is passed on: the path of Unix sockets, in a folder open to nobody else,
            less the end of their names. `ingresskit.apply.haproxy.Haproxy` has one of its own.
        delegate: Whether the program can hand requests over to a delegate; see `ingresskit.render.delegate`.
        hard_stop_after: How long a replaced process may serve the connections it still has.

    Raises:
        ConfigurationError: A time-out is not more than zero, a limit is out of range, or
            *proxy_protocol* is on without *trusted_proxies*.
    """

    http: tuple[Bind, ...] = ()
    https: tuple[Bind, ...] = ()
    http2: bool = True
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=60)
    header_timeout: timedelta = timedelta(seconds=15)
    body_timeout: timedelta = timedelta(seconds=60)
    idle_timeout: timedelta = timedelta(seconds=75)
    handshake_timeout: timedelta = timedelta(seconds=10)
    stream_idle_timeout: timedelta = timedelta(minutes=10)
    max_connections: int = 16384
    max_request_line_bytes: int = 8192
    buffer_bytes: int = 32768
    max_headers: int = 100
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    underscores_in_headers: bool = False
    public_http_port: int = 80
    public_https_port: int | None = None
    log_socket: str | None = None
    tls_socket: str = "tls"
    delegate: bool = False
    hard_stop_after: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        check_settings(self)
        # A map row, a command of the runtime API and the longest path in normal form have to fit.
        if not 32768 <= self.buffer_bytes <= 1048576:
            raise ConfigurationError(f"buffer_bytes must be from 32768 to 1048576, not {self.buffer_bytes}")
        if self.max_request_line_bytes > 8192:
            raise ConfigurationError(
                f"max_request_line_bytes must be 8192 at most, not {self.max_request_line_bytes}"
            )
        if self.max_headers > 30000:
            raise ConfigurationError(f"max_headers must be 30000 at most, not {self.max_headers}")
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigurationError("proxy_protocol needs trusted_proxies: it is read from those peers only")

    @property
    def redirect_port(self) -> int | None:
        """The public port that redirects to TLS lead to; ``None`` when there are no such redirects."""
        return None if self.public_https_port is None and not self.https else self.public_https_port or 443
