"""What an operator can set on the in-process proxy: time-outs, limits, whom to believe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError
from ingresskit.policies.values import Network
from ingresskit.proxy.access import AccessRecord

__all__ = ["ProxySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """Settings of a `Proxy`. The policies of a route override the first three time-outs.

    Attributes:
        connect_timeout: For a connection to an endpoint, its TLS handshake included.
        read_timeout: Between two reads of a response; also how long a tunnel may be silent.
        send_timeout: Between two writes to an endpoint.
        header_timeout: For a whole request head, from its first byte (from the connection, for the
            first one).
        body_timeout: Between two reads of a request body.
        min_body_rate: Octets a second that a client must send of a request body, chunk framing included, once
            *body_timeout* is used up: a body that is slower for longer is a 408.
        client_write_timeout: How long a client may take nothing of a response that waits for it.
        idle_timeout: For a client connection between two requests.
        upstream_idle_timeout: For a pooled connection to an endpoint.
        unsafe_reuse: A request that must not be sent twice takes a pooled connection only when it was
            idle for no longer than this: the endpoint may be closing an older one just now.
        handshake_timeout: For the TLS handshake of a client; for the first message of it, where connections
            are passed on by their server name.
        stream_idle_timeout: How long a connection that is passed on may be silent in both directions.
        max_request_line_bytes: A longer request line gets 414.
        max_header_bytes: For a request head as a whole; a larger one gets 431.
        max_headers: Fields in a request head; more get 431.
        max_response_header_bytes: For the head of a response; a larger one is a 502.
        max_response_headers: Fields in the head of a response.
        processes: How many proxies on this machine share these limits: each has its part of *max_connections*,
            *max_waiting_bytes*, *max_waiting_bytes_per_client* and *max_handshakes*.
        max_connections: Client connections at a time. At the limit an idle one is closed for a new one, of
            the client that has the most; without an idle one the new one is closed. ``None``: 16,384, or
            fewer where the memory limit of the control group is below 1 GiB (a quarter of it, 16 KiB each;
            one with TLS counts as four). Always fewer where the limit of open files does not allow for
            twice as many.
        max_waiting_bytes: What clients may make the proxy hold: responses that wait for slow readers,
            unfinished heads, requests sent ahead, bodies kept for another try. Beyond it the connection is
            cut that has made no progress for longest, of the client that holds the most. ``None``: 64 MiB,
            or an eighth of the memory limit of the control group where that is less.
        max_waiting_bytes_per_client: The same for one client, an address or an IPv6 /64; not for
            *trusted_proxies*, which stand for many.
        max_handshakes: Connections of one listener that are in a TLS handshake or have not sent their
            PROXY header yet; one more ends the one that has taken longest.
        max_idle_per_endpoint: Pooled connections kept open to one endpoint.
        buffer_bytes: High-water mark of what waits to be written to one side; the other side is not
            read while it is exceeded. Also how much of a request body is kept for another try.
        ports_address: The numeric address at which further ports are listened at; empty: every address.
        trusted_proxies: Peers whose ``X-Forwarded-*`` and ``Forwarded`` are believed.
        proxy_protocol: Peers in *trusted_proxies* must open with a PROXY protocol header, version 1
            or 2; that of other peers is not read.
        underscores_in_headers: Pass on header fields with ``_`` in their names. Those that could be taken
            for a field of the proxy's own (``X_Real_IP``) or one that the route sets or removes still go.
        http2: Speak HTTP/2 to clients that want it: by ALPN on listeners with TLS, with prior knowledge on the
            others, beside HTTP/1.1. ``None``: where the extra ``http2`` is installed.
        http2_max_streams: Requests that a client may have under way on one connection of HTTP/2.
        public_http_port: The port that clients reach plain HTTP at, for ``X-Forwarded-Port`` where neither a
            trusted proxy, a PROXY header nor ``Host`` names one.
        public_https_port: The same of TLS; also where plain HTTP is redirected to, unless ``Host`` names the
            port of the listener itself: then to that of the first TLS listener. ``None``: 443, and without
            a TLS listener nothing is redirected to TLS.
        access_log: Called after each request, on the event loop: it must not block or raise.
        destination_fault: Why an address may not be connected to, as a clause; ``None`` when it may.
            Asked about each address a connection is about to be made to, after names are looked up.
    """

    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=60)
    send_timeout: timedelta = timedelta(seconds=60)
    header_timeout: timedelta = timedelta(seconds=15)
    body_timeout: timedelta = timedelta(seconds=60)
    min_body_rate: int = 100
    client_write_timeout: timedelta = timedelta(seconds=60)
    idle_timeout: timedelta = timedelta(seconds=75)
    upstream_idle_timeout: timedelta = timedelta(seconds=60)
    unsafe_reuse: timedelta = timedelta(seconds=1)
    handshake_timeout: timedelta = timedelta(seconds=10)
    stream_idle_timeout: timedelta = timedelta(minutes=10)
    max_request_line_bytes: int = 8192
    max_header_bytes: int = 32768
    max_headers: int = 100
    max_response_header_bytes: int = 65536
    max_response_headers: int = 200
    processes: int = 1
    max_connections: int | None = None
    max_waiting_bytes: int | None = None
    max_waiting_bytes_per_client: int = 8 << 20
    max_handshakes: int = 1024
    max_idle_per_endpoint: int = 64
    buffer_bytes: int = 65536
    ports_address: str = ""
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    underscores_in_headers: bool = False
    http2: bool | None = None
    http2_max_streams: int = 100
    public_http_port: int = 80
    public_https_port: int | None = None
    access_log: Callable[[AccessRecord], None] | None = None
    destination_fault: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: A time-out is not more than zero, a limit is less than one, or a
                port is out of range.
        """
        check_settings(self)
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigurationError("proxy_protocol needs trusted_proxies: it is read from those peers only")
