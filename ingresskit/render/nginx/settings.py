"""What an operator can set on nginx: listeners, limits, whom to believe, where things lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError
from ingresskit.policies.values import Network

__all__ = ["NginxSettings"]

_LISTEN = re.compile(r"(?:(?:[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5})")
# A path becomes a part of tokens, and of socket names, which end at 107 bytes.
_STATE = re.compile(r"/[A-Za-z0-9_./+@-]{1,80}")
_RESOLVER = re.compile(r"(?:127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\]):[1-9][0-9]{0,4}")
_LOG = re.compile(r"/[\x21\x23-\x7e]{1,400}")


def port_of(address: str) -> int:
    """The port of an address of `NginxSettings.http` or `NginxSettings.https`."""
    return int(address.rpartition(":")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxSettings:
    """Settings of nginx. The policies of a route override the first three time-outs.

    Attributes:
        state: An absolute path of letters, digits and ``_.+@-``: where sockets and certificates lie.
        http: Addresses that take plain requests: ``"0.0.0.0:8080"``, ``"[::]:8080"``.
        https: Addresses that take TLS.
        underscores_in_headers: Pass on header fields with ``_`` in their names. Those that could be taken
            for a field of the proxy's own (``X_Real_IP``) or one that the route sets or removes still go.
            The static mode cannot tell them apart, and refuses this.
        public_http_port: The port that clients reach plain HTTP at, for ``X-Forwarded-Port`` where neither a
            trusted proxy, a PROXY header nor ``Host`` names one.
        public_https_port: The same of TLS; also where plain HTTP is redirected to, unless ``Host`` names the
            port of the listener itself: then to that of the first of *https*. ``None``: 443, and without
            *https* nothing is redirected to TLS.
        connect_timeout: For a connection to an endpoint.
        read_timeout: Between two reads of a response; also how long a tunnel may be silent.
        send_timeout: Between two writes to an endpoint.
        header_timeout: For a whole request head.
        body_timeout: Between two reads of a request body.
        client_write_timeout: How long a client may take nothing of a response.
        idle_timeout: For a client connection between two requests.
        handshake_timeout: For the first message of a TLS handshake, where connections are passed on by their
            server name.
        stream_idle_timeout: How long a connection that is passed on may be silent in both directions.
        upstream_idle_timeout: For an idle connection to an endpoint. Shorter than what endpoints wait
            (Node.js: 5 s), because nginx does not try a POST again that meets a closing connection.
        shutdown_timeout: How long an old worker may finish what it has after a reload.
        max_request_line_bytes: A longer request line gets 414.
        max_header_bytes: For the fields of a request head; more get 431.
        response_header_bytes: For the head of a response; a larger one is a 502.
        workers: Worker processes; 0: one for each core.
        worker_connections: Connections of one worker, to clients and endpoints together.
        trusted_proxies: Peers whose ``X-Forwarded-*`` and ``Forwarded`` are believed.
        proxy_protocol: Every connection opens with a PROXY protocol header, which is believed of
            *trusted_proxies*; then ``X-Forwarded-*`` and ``Forwarded`` are ignored.
        resolver: In static mode, an address on loopback, ``"127.0.0.1:5300"``, at which the controller
            serves endpoints to an nginx of 1.27.4 or later, which follows them without a reload, a second
            or two behind. Empty: endpoints stand in files.
        http2: Offer HTTP/2 to clients that speak TLS, and send gRPC to endpoints, which needs it.
        access_log: An absolute path; empty: none; ``"socket"``: each line goes to `log_socket`, and is lost
            while no program reads there.
        error_log: An absolute path, or ``"stderr"``.
        behind_streams: Whether TLS is taken from the part that reads server names, at `inner_socket`, and no
            longer at *https*; `ingresskit.render.nginx.NginxRenderer` decides it.
        affinity_key: What the values of affinity cookies are made with in the dynamic mode: a secret, of at
            least 16 octets. Empty: nginx makes one whenever it loads its configuration.
    """

    state: str
    http: tuple[str, ...] = ("0.0.0.0:8080",)
    https: tuple[str, ...] = ()
    underscores_in_headers: bool = False
    public_http_port: int = 80
    public_https_port: int | None = None
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=60)
    send_timeout: timedelta = timedelta(seconds=60)
    header_timeout: timedelta = timedelta(seconds=15)
    body_timeout: timedelta = timedelta(seconds=60)
    client_write_timeout: timedelta = timedelta(seconds=60)
    idle_timeout: timedelta = timedelta(seconds=75)
    handshake_timeout: timedelta = timedelta(seconds=10)
    stream_idle_timeout: timedelta = timedelta(minutes=10)
    upstream_idle_timeout: timedelta = timedelta(seconds=4)
    shutdown_timeout: timedelta = timedelta(minutes=4)
    max_request_line_bytes: int = 8192
    max_header_bytes: int = 32768
    response_header_bytes: int = 16384
    workers: int = 0
    worker_connections: int = 16384
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    resolver: str = ""
    http2: bool = False
    access_log: str = ""
    error_log: str = "stderr"
    behind_streams: bool = False
    affinity_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: An address or a path is none, a time-out is not more than zero, or a
                limit is out of range.
        """
        check_settings(self, {"workers": 0}, shortest=timedelta(milliseconds=1))  # nginx counts those
        for address in (*self.http, *self.https):
            if not _LISTEN.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) < 65536:
                raise ConfigurationError(f"{address!r} is not an address and a port, such as 0.0.0.0:8080")
        if len({*self.http, *self.https}) < len(self.http) + len(self.https) or not (self.http or self.https):
            raise ConfigurationError("http and https must be different addresses, and at least one")
        if not _STATE.fullmatch(self.state) or ".." in self.state.split("/"):
            raise ConfigurationError(
                f"{self.state!r} must be an absolute path of letters, digits and _.+@-, at most 81 characters"
            )
        for name, path in (("access_log", self.access_log), ("error_log", self.error_log)):
            if path not in ("", "stderr" if name == "error_log" else "socket") and not _LOG.fullmatch(path):
                raise ConfigurationError(f"{name} must be an absolute path, not {path!r}")
        if self.resolver and not _RESOLVER.fullmatch(self.resolver):
            raise ConfigurationError(f"{self.resolver!r} is not an address on loopback and a port")
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigurationError("proxy_protocol needs trusted_proxies: it is believed of those peers only")

    @property
    def tls_port(self) -> int | None:
        """The public port that redirects to TLS lead to; ``None`` when there are no such redirects."""
        return None if self.public_https_port is None and not self.https else self.public_https_port or 443

    @property
    def own_redirects(self) -> tuple[tuple[int, int], ...]:
        """For each port of *http*, where clients that name it in ``Host`` are redirected to."""
        if not self.https:
            return ()
        secure = port_of(self.https[0])
        return tuple((port, secure) for port in sorted({port_of(address) for address in self.http}))

    @property
    def inner_socket(self) -> str:
        """A unix socket for connections whose TLS ends here, while others are passed on."""
        return f"{self.state}/passed-not.sock"

    @property
    def tls_listeners(self) -> tuple[tuple[str, ...], ...]:
        """Where servers take TLS: the address and further words of ``listen``."""
        http2 = ("http2",) if self.http2 else ()
        more = ("proxy_protocol",) if self.proxy_protocol else ()
        if self.behind_streams:
            return ((f"unix:{self.inner_socket}", "ssl", *http2, "proxy_protocol"),)
        return tuple((address, "ssl", *http2, *more) for address in self.https)

    @property
    def log_socket(self) -> str:
        """A unix datagram socket for lines of the access log, in the form of syslog."""
        return f"{self.state}/log.sock"

    @property
    def log_target(self) -> str:
        """Where nginx writes its access log, in its own words; empty: nowhere."""
        if self.access_log == "socket":
            return f"syslog:server=unix:{self.log_socket},nohostname,tag=nginx"
        return self.access_log

    @property
    def status_socket(self) -> str:
        """A unix socket that serves ``/generation``, the digest of the live configuration, and ``/status``."""
        return f"{self.state}/status.sock"

    @property
    def certificate_directory(self) -> str:
        """Where certificates lie, by id."""
        return f"{self.state}/certificates"

    def certificate_path(self, identifier: str, digest: str) -> str:
        """The folder for one version of a certificate.

        It holds ``tls.pem``, the chain and then the key. ``certificates/<id>`` is a symbolic link to it,
        swapped by a rename: chain and key are read one after the other, and the link is followed once,
        so that no handshake ever sees the chain of one version with the key of another.
        """
        return f"{self.certificate_directory}/{identifier}.{digest[:16]}"
