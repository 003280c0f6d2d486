"""``nginx.conf`` of the dynamic mode: the same for every graph, changes with settings only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from ingresskit.graph import ANY_HOST
from ingresskit.policies import ClientCertificates, PolicySet
from ingresskit.render.nginx.authorities import handshake_directives
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.dynamic.grpc import GRPC_POOL, grpc_forwarding, grpc_locations
from ingresskit.render.nginx.logline import LOG_LINE
from ingresskit.render.nginx.names import server_name
from ingresskit.render.nginx.policies.certificates import asked_id
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.tree import DOLLAR, Argument, Block, Comment, Directive, Node, Value, Variable
from ingresskit.render.nginx.values import duration

__all__ = ["dynamic_main"]

_NO_POLICIES: Final = PolicySet()
# For bodies of unknown length, see lua/ingresskit/policies/limits.lua.
_BODY_POWERS = range(10, 51)
# nginx's own errors that get the program's plain text.
_ERRORS = (
    *("400", "403", "404", "405", "408", "411", "413", "414", "417"),
    *("497", "500", "501", "502", "503", "504", "505"),
)


def dynamic_main(
    settings: NginxSettings,
    capabilities: Capabilities,
    handshakes: Mapping[str, PolicySet] = MappingProxyType({}),
) -> tuple[Node, ...]:
    """``nginx.conf`` of the dynamic mode.

    Args:
        settings: Of the nginx.
        capabilities: Of the program.
        handshakes: By rule host, the policies of the hosts that have any of the TLS handshake.
    """
    return (
        *(_d("load_module", path) for path in capabilities.load_modules),
        _d("pid", f"{settings.state}/nginx.pid"),
        _d("error_log", settings.error_log, "warn"),
        _d("worker_processes", str(settings.workers or "auto")),
        _d("worker_shutdown_timeout", duration(settings.shutdown_timeout)),
        Block("events", (), (_d("worker_connections", str(settings.worker_connections)),)),
        *((_d("include", "streams.conf"),) if settings.behind_streams else ()),
        Block("http", (), tuple(_http(settings, handshakes))),
    )


def _http(settings: NginxSettings, handshakes: Mapping[str, PolicySet]) -> Iterator[Node]:
    yield Block("geo", (f"${DOLLAR.name}",), (_d("default", "$"),))
    yield _d("include", "generation.conf")
    yield _d("lua_package_path", "$prefix/lua/?.lua;;")
    # Its name changes with the form of the rows, see lua/ingresskit/tables.lua.
    yield _d("lua_shared_dict", "ingresskit_rows_2", "256m")
    yield _d("lua_shared_dict", "ingresskit_counts", "32m")
    yield _d("lua_shared_dict", "ingresskit_interim", "2m")
    # Some 100,000 clients, of which those are forgotten that were not seen for longest.
    yield _d("lua_shared_dict", "ingresskit_limits", "16m")
    # Each pattern of a route or a condition takes one; beyond that they are compiled for each request.
    yield _d("lua_regex_cache_max_entries", "16384")
    yield _d("init_by_lua_file", "lua/init.lua")
    yield _d("init_worker_by_lua_file", "lua/start.lua")
    if settings.behind_streams:
        yield Comment("Who the client is, of connections from the part that reads server names.")
        yield _d("set_real_ip_from", "unix:")
        yield _d("real_ip_header", "proxy_protocol")
    yield from _variables_of_requests(settings)
    yield Comment("What arrives is read strictly, and what is passed on is in normal form.")
    yield _d("server_tokens", "off")
    yield _d("merge_slashes", "off")
    yield _d("absolute_redirect", "off")
    yield _d("ignore_invalid_headers", "off")
    yield _d("underscores_in_headers", "off")
    yield _d("large_client_header_buffers", "4", str(settings.max_header_bytes))
    yield _d("client_header_timeout", duration(settings.header_timeout))
    yield _d("client_body_timeout", duration(settings.body_timeout))
    yield _d("client_max_body_size", "0")
    yield _d("client_body_buffer_size", "64k")
    yield _d("send_timeout", duration(settings.client_write_timeout))
    yield _d("keepalive_timeout", duration(settings.idle_timeout))
    yield _d("keepalive_requests", "100000")
    yield _d("tcp_nodelay", "on")
    yield from _temporary(settings)
    yield from _access_log(settings)
    yield from _upstreams(settings)
    yield from _control(settings)
    yield _server(settings, ANY_HOST, handshakes)
    for host in handshakes if settings.https else ():
        if host != ANY_HOST:
            yield _server(settings, host, handshakes)


def _temporary(settings: NginxSettings) -> Iterator[Node]:
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield _d(f"{name}_temp_path", f"{settings.state}/temp/{name}")


def _access_log(settings: NginxSettings) -> Iterator[Node]:
    # Also where no log is written: a variable that nothing mentions cannot be set by the program.
    yield _d("log_format", "ingresskit", "escape=json", LOG_LINE)
    if settings.access_log:
        yield _d("access_log", settings.log_target, "ingresskit")
    else:
        yield _d("access_log", "off")


def _upstreams(settings: NginxSettings) -> Iterator[Node]:
    # What must not be sent twice takes only connections that were just used: an older one may be closing.
    # The last one keeps none: TLS connections are for one server name, and some belong to one client.
    pools = [
        ("ingresskit", "512", settings.upstream_idle_timeout),
        ("ingresskit_young", "128", timedelta(seconds=1)),
        ("ingresskit_once", "", timedelta()),
    ]
    if settings.http2:
        pools.append((GRPC_POOL, "512", settings.upstream_idle_timeout))
    for name, kept, idle in pools:
        body: list[Node] = [_d("server", "0.0.0.1"), _d("balancer_by_lua_file", "lua/balance.lua")]
        if kept:
            body += [
                _d("keepalive", kept),
                _d("keepalive_timeout", duration(idle)),
                _d("keepalive_requests", "100000"),
            ]
        yield Block("upstream", (name,), tuple(body))


def _control(settings: NginxSettings) -> Iterator[Node]:
    """The controller's sockets: what is live, and where rows come in."""

    def content(path: str, *body: Node) -> Block:
        return Block("location", ("=", path), body)

    yield Block(
        "server",
        (),
        (
            _d("listen", f"unix:{settings.status_socket}"),
            _d("access_log", "off"),
            content("/generation", _d("return", "200", _variable("ik_generation"))),
            content("/status", _d("stub_status")),
            content("/state", _d("content_by_lua_file", "lua/state.lua")),
            content("/statistics", _d("content_by_lua_file", "lua/statistics.lua")),
            content(
                "/push",
                _d("client_body_buffer_size", "4m"),
                _d("content_by_lua_file", "lua/receive.lua"),
            ),
        ),
    )


def _server(settings: NginxSettings, host: str, handshakes: Mapping[str, PolicySet]) -> Block:
    """The server that takes all requests, or that of a host with policies of the handshake."""
    protocol = ("proxy_protocol",) if settings.proxy_protocol else ()
    default = ("default_server", "backlog=4096") if host == ANY_HOST else ()
    body: list[Node] = [_d("listen", address, *default, *protocol) for address in settings.http]
    body += [_d("listen", address, ssl, *default, *words) for address, ssl, *words in settings.tls_listeners]
    if host != ANY_HOST:
        body.append(_d("server_name", server_name(host)))
    policies = handshakes.get(host, _NO_POLICIES)
    clients = policies.get(ClientCertificates)
    if settings.https:
        certificate = f"{settings.certificate_directory}/default/tls.pem"
        # A session is resumed before the server name counts, with the certificate that its client showed to
        # another host: so none is, where any host asks.
        resumes = not any(ClientCertificates in item for item in handshakes.values())
        body += [
            _d("ssl_certificate", certificate),
            _d("ssl_certificate_key", certificate),
            _d("ssl_protocols", "TLSv1.2", "TLSv1.3"),
            _d("ssl_session_cache", "shared:ingresskit_sessions:10m" if resumes else "off"),
            _d("ssl_session_tickets", "off"),
            _d("ssl_certificate_by_lua_file", "lua/certificate.lua"),
            *handshake_directives(policies),
        ]
        if not resumes:
            body.append(_d("set", "$ik_asked", "" if clients is None else asked_id(host, clients)))
    body += _forwarding(settings)
    if settings.http2:
        body += grpc_forwarding(settings, _HEADERS, _NOT_OBEYED, _HIDDEN)
    # To any path: what comes there from inside is an error, see lua/ingresskit/local_replies.lua. A name would
    # not do, since nginx leads no request there that never had a path.
    body.append(_d("error_page", *_ERRORS, "/"))
    # nginx's own number, which it turns into 400 unless it is told otherwise here.
    body.append(_d("error_page", "494", "=431", "/"))
    if clients is not None and settings.https:
        page = (Value(clients.error_page),) if clients.error_page else ("=400", "/")
        body.append(Directive("error_page", ("495", "496", *page)))
    forward = (
        Directive(
            "proxy_pass", (Value(Variable("ik_scheme"), "://", Variable("ik_pool"), Variable("ik_uri")),)
        ),
    )
    body.append(Block("location", ("/",), (_d("rewrite_by_lua_file", "lua/route.lua"), *forward)))
    body.append(Block("location", ("@interim",), (_d("body_filter_by_lua_file", "lua/interim.lua"), *forward)))
    for power in _BODY_POWERS:
        limit = (_d("client_max_body_size", str(2**power)), _d("access_by_lua_file", "lua/limit.lua"))
        body.append(Block("location", (f"@body_{power}",), (*limit, *forward)))
    if settings.http2:
        body += grpc_locations(_BODY_POWERS)
    return Block("server", (), tuple(body))


def _variables_of_requests(settings: NginxSettings) -> Iterator[Node]:
    """What is passed on unless the program says otherwise: worked out only where it is asked for."""
    for name, value in (
        ("scheme", "http"),
        ("pool", "ingresskit"),
        ("uri", _variable("request_uri")),
        ("host", _variable("host")),
        ("name", ""),
        ("connection", ""),
        ("upgrade", ""),
        ("client", _variable("remote_addr")),
        ("for", _variable("remote_addr")),
        ("proto", _variable("scheme")),
        ("forwarded_host", _variable("ik_host")),
        ("forwarded", ""),
        ("request_id", _variable("request_id")),
        ("backend", ""),
        ("log_host", ""),
        ("log_path", ""),
        ("rule", ""),
        ("status", _variable("status")),
        ("reason", ""),
        ("timed_out", ""),
    ):
        # A map of nothing: a variable that the program may change, without the rewrite module.
        yield Block("map", (_variable("host"), f"$ik_{name}"), (_d("default", value),))
    public = (
        _d("https", str(settings.public_https_port or 443)),
        _d("default", str(settings.public_http_port)),
    )
    yield Block("map", (_variable("scheme"), "$ik_port"), public)


def _variable(name: str) -> Value:
    return Value(Variable(name))


_HEADERS: tuple[tuple[str, Argument], ...] = (
    ("Host", _variable("ik_host")),
    ("Connection", _variable("ik_connection")),
    ("Upgrade", _variable("ik_upgrade")),
    ("X-Request-ID", _variable("ik_request_id")),
    ("X-Real-IP", _variable("ik_client")),
    ("X-Forwarded-For", _variable("ik_for")),
    ("X-Forwarded-Proto", _variable("ik_proto")),
    ("X-Forwarded-Host", _variable("ik_forwarded_host")),
    ("X-Forwarded-Port", _variable("ik_port")),
    ("Forwarded", _variable("ik_forwarded")),
)
_HIDDEN = (
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "HTTP2-Settings",
)
_NOT_OBEYED = (
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
)


def _forwarding(settings: NginxSettings) -> Iterator[Node]:
    yield _d("header_filter_by_lua_file", "lua/response.lua")
    yield _d("log_by_lua_file", "lua/log.lua")
    yield _d("proxy_http_version", "1.1")
    yield _d("proxy_redirect", "off")
    yield _d("proxy_request_buffering", "off")
    yield _d("proxy_buffering", "off")
    yield _d("proxy_buffer_size", str(settings.response_header_bytes))
    yield _d("proxy_buffers", "4", str(settings.response_header_bytes))
    yield _d("proxy_next_upstream", "error", "timeout")
    yield _d("proxy_next_upstream_tries", "0")
    yield _d("proxy_connect_timeout", duration(settings.connect_timeout))
    yield _d("proxy_read_timeout", duration(settings.read_timeout))
    yield _d("proxy_send_timeout", duration(settings.send_timeout))
    yield _d("proxy_ssl_server_name", "on")
    yield Directive("proxy_ssl_name", (_variable("ik_name"),))
    yield _d("proxy_ssl_protocols", "TLSv1.2", "TLSv1.3")
    for name, value in _HEADERS:
        yield Directive("proxy_set_header", (name, value))
    yield _d("proxy_ignore_headers", *_NOT_OBEYED, "Cache-Control", "Expires", "Set-Cookie", "Vary")
    for name in ("Server", "Date", "X-Pad", *_NOT_OBEYED):
        yield _d("proxy_pass_header", name)
    for name in _HIDDEN:
        yield _d("proxy_hide_header", name)


def _d(name: str, *args: Argument) -> Directive:
    return Directive(name, args)
