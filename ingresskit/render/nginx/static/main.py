"""The files that are the same for every graph: they depend on settings and version alone."""

from __future__ import annotations

from typing import Final

from ingresskit.render.error_bodies import SENTENCES, sentence
from ingresskit.render.nginx.artifact import ConfigFile, config_file
from ingresskit.render.nginx.capabilities import Capabilities
from ingresskit.render.nginx.logline import LOG_LINE
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.forwarding import forwarding_maps, realip_directives, request_fields
from ingresskit.render.nginx.static.normal_form import LOCAL_REPLY_PATH, normal_form_checks, normal_form_maps
from ingresskit.render.nginx.tree import (
    DOLLAR,
    LINE_END,
    Block,
    Comment,
    Condition,
    Directive,
    Node,
    Value,
    Variable,
)
from ingresskit.render.nginx.values import duration

__all__ = ["common_files", "error_pages", "hidden_fields", "main_nodes"]

# Error responses of nginx itself that get a body of ours.
_LOCAL: Final = (403, 404, 405, 411, 413, 500, 501, 503, 504)
# The same of requests that may not have a path yet.
_EARLY: Final = (400, 408, 414, 505)


def _log_variables() -> tuple[Node, ...]:
    """Those of `LOG_VARIABLES` that nginx does not have: what is said to endpoints elsewhere, or nothing."""

    def same(name: str, value: Variable, *rows: Directive) -> Block:
        body = (*rows, Directive("default", (Value(value),)))
        return Block("map", (Value(value), Variable(name)), body)

    path, nothing = Variable("ik_normal_uri"), Directive(LOCAL_REPLY_PATH, ("",))
    return (
        same("ik_log_host", Variable("host")),
        same("ik_log_path", path, nothing),
        same("ik_status", Variable("status")),
        same("ik_rule", Variable("server_name")),
        same("ik_backend", Variable("proxy_host")),
        Block("map", (Variable("host"), Variable("ik_reason")), (Directive("default", ("",)),)),
    )


def main_nodes(settings: NginxSettings, capabilities: Capabilities) -> tuple[Node, ...]:
    """``nginx.conf`` of the static mode."""
    return (
        Comment("Written by ingresskit. The same for every Ingress; changes with settings only."),
        *_process(settings, capabilities),
        *((Directive("include", ("streams.conf",)),) if settings.behind_streams else ()),
        Block(
            "http",
            (),
            (
                *_http_basics(settings, capabilities),
                Directive("include", ("generation.conf",)),
                Comment(""),
                Comment("One normal form of the path, for matching and for endpoints."),
                Directive("include", ("normal-form.conf",)),
                Comment("Who the client is."),
                Directive("include", ("clients.conf",)),
                Comment(""),
                Comment(
                    "Certificates are looked up at each handshake; a link is followed once for chain and key."
                ),
                *_certificates(settings, capabilities),
                Comment(""),
                *_resolver(settings, capabilities),
                *_upstream_defaults(settings),
                Comment(""),
                _status_server(settings, capabilities),
                Comment(""),
                Directive("include", ("server-names.conf",)),
                Directive("include", ("upstreams.conf",)),
                Directive("include", ("hosts/*.conf",)),
            ),
        ),
    )


def _process(settings: NginxSettings, capabilities: Capabilities) -> tuple[Node, ...]:
    """What stands before the ``http`` block."""
    files = 2 * settings.worker_connections
    return (
        *(Directive("load_module", (path,)) for path in capabilities.load_modules),
        Directive("worker_processes", (str(settings.workers) if settings.workers else "auto",)),
        Directive("worker_rlimit_nofile", (str(files),)),
        Directive("worker_shutdown_timeout", (duration(settings.shutdown_timeout),)),
        Directive("pcre_jit", ("on",)),
        Directive("pid", (f"{settings.state}/nginx.pid",)),
        Directive("error_log", (settings.error_log, "warn")),
        Block("events", (), (Directive("worker_connections", (str(settings.worker_connections),)),)),
    )


def _http_basics(settings: NginxSettings, capabilities: Capabilities) -> tuple[Node, ...]:
    """Limits, logs and local responses."""
    buffers = max(4, settings.max_header_bytes // settings.max_request_line_bytes)
    nodes: list[Node] = [
        Block("types", (), ()),
        Directive("default_type", ("text/plain; charset=utf-8",)),
        Directive("server_tokens", ("off",)),
        Directive("absolute_redirect", ("off",)),
        Directive("merge_slashes", ("on",)),
        Directive("ignore_invalid_headers", ("on",)),
        Directive("underscores_in_headers", ("off",)),
        Directive("server_names_hash_max_size", ("131072",)),
        Directive("server_names_hash_bucket_size", ("512",)),
        Directive("map_hash_max_size", ("131072",)),
        Directive("map_hash_bucket_size", ("512",)),
        Directive("variables_hash_max_size", ("4096",)),
        Directive("variables_hash_bucket_size", ("128",)),
        Directive("proxy_headers_hash_max_size", ("2048",)),
        Directive("proxy_headers_hash_bucket_size", ("256",)),
        Directive("client_header_timeout", (duration(settings.header_timeout),)),
        Directive("client_body_timeout", (duration(settings.body_timeout),)),
        Directive("client_max_body_size", ("0",)),
        Directive("client_body_buffer_size", ("64k",)),
        Directive("large_client_header_buffers", (str(buffers), str(settings.max_request_line_bytes))),
        Directive("send_timeout", (duration(settings.client_write_timeout),)),
        Directive("keepalive_timeout", (duration(settings.idle_timeout),)),
        Directive("keepalive_requests", ("100000",)),
        Directive("reset_timedout_connection", ("on",)),
    ]
    if capabilities.keepalive_min_timeout:
        nodes.append(Directive("keepalive_min_timeout", ("1s",)))
    nodes += [
        Directive(f"{kind}_temp_path", (f"{settings.state}/temp/{kind}",))
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    ]
    nodes += [
        *_log_variables(),
        Directive("log_format", ("ingress", "escape=json", LOG_LINE)),
        Directive("access_log", (settings.log_target, "ingress") if settings.log_target else ("off",)),
        # A dollar sign where variables are expanded; there is no other way to write one.
        Block("geo", (DOLLAR,), (Directive("default", ("$",)),)),
        Block(
            "map",
            (Variable("status"), Variable("ik_sentence")),
            (
                # Also while there is no status yet: then it will be this one.
                Directive("default", (sentence(400),)),
                *(Directive(str(status), (text,)) for status, text in SENTENCES.items()),
                *(
                    Directive(str(code), (sentence(code),))
                    for code in (*_LOCAL, *_EARLY)
                    if code not in SENTENCES
                ),
            ),
        ),
        Block(
            "map",
            (Variable("upstream_status"), Variable("ik_timed_out")),
            (Directive("default", ("",)), Directive("~504", ("1",))),
        ),
        *error_pages(),
    ]
    return tuple(nodes)


def common_files(settings: NginxSettings) -> tuple[ConfigFile, ...]:
    """What the main file and the files of hosts include."""
    clients = (*realip_directives(settings), *forwarding_maps(settings))
    return (
        config_file("normal-form.conf", normal_form_maps()),
        config_file("clients.conf", clients),
        config_file("request-fields.conf", request_fields()),
        config_file("server.conf", (*normal_form_checks(), *_local_reply_locations())),
    )


def error_pages() -> tuple[Directive, ...]:
    """Where nginx's own error responses get their body."""
    return (
        Directive("error_page", (*map(str, _LOCAL), "@ik_local_reply")),
        Directive("error_page", ("502", "=", "@ik_failed")),
        Directive("error_page", (*map(str, _EARLY), LOCAL_REPLY_PATH)),
        # Numbers of nginx alone: a head that is too large, and plain HTTP where TLS is spoken.
        Directive("error_page", ("494", "=431", LOCAL_REPLY_PATH)),
        Directive("error_page", ("497", "=400", LOCAL_REPLY_PATH)),
    )


def _local_reply_locations() -> tuple[Block, ...]:
    """Where nginx's own error responses get their body; the status stays."""
    text = Value(Variable("ik_sentence"), LINE_END)
    early = (
        Directive("internal"),
        # Where a request begins and ends is in doubt: nothing more is read from its connection.
        Directive("keepalive_timeout", ("0",)),
        # Of what nginx refused by itself, the status stays.
        Directive("return", ("400", text)),
    )
    # nginx's status is that of the last try, which says less than a time-out before it.
    late = Directive("return", ("504", Value(sentence(504), LINE_END)))
    failed = (
        Block("if", (Condition(Variable("ik_timed_out")),), (late,)),
        Directive("return", ("502", Value(sentence(502), LINE_END))),
    )
    return (
        Block("location", ("@ik_local_reply",), (Directive("return", ("200", text)),)),
        Block("location", ("@ik_failed",), failed),
        Block("location", ("=", LOCAL_REPLY_PATH), early),
    )


def _status_server(settings: NginxSettings, capabilities: Capabilities) -> Block:
    """The private server that says which generation is live, and counts connections."""
    locations = [
        Block(
            "location",
            ("=", "/generation"),
            (Directive("return", ("200", Value(Variable("ik_generation"), LINE_END))),),
        )
    ]
    if capabilities.stub_status:
        locations.append(Block("location", ("=", "/status"), (Directive("stub_status"),)))
    return Block(
        "server",
        (),
        (
            Directive("listen", (f"unix:{settings.status_socket}",)),
            Directive("access_log", ("off",)),
            *_local_reply_locations(),
            *locations,
            Block("location", ("/",), (Directive("return", ("404", Value(sentence(404), LINE_END))),)),
        ),
    )


def _certificates(settings: NginxSettings, capabilities: Capabilities) -> tuple[Node, ...]:
    if not settings.https:
        return ()
    path = Value(Variable("ik_certificate"), "/tls.pem")
    nodes: list[Node] = [
        Directive("root", (Value(f"{settings.certificate_directory}/", Variable("ik_certificate_id")),)),
        # A map keeps what it gave for the rest of a handshake; $realpath_root by itself would not.
        Block(
            "map",
            (Variable("realpath_root"), Variable("ik_certificate")),
            (Directive("default", (Value(Variable("realpath_root")),)),),
        ),
        Directive("ssl_certificate", (path,)),
        Directive("ssl_certificate_key", (path,)),
        Directive("ssl_protocols", ("TLSv1.2", "TLSv1.3")),
        Directive("ssl_session_cache", ("shared:ik_tls:10m",)),
        Directive("ssl_session_tickets", ("off",)),
    ]
    if capabilities.certificate_cache:
        nodes.append(Directive("ssl_certificate_cache", ("max=10000", "inactive=1h", "valid=1h")))
    return tuple(nodes)


def _resolver(settings: NginxSettings, capabilities: Capabilities) -> tuple[Node, ...]:
    if not settings.resolver or not capabilities.follows_names:
        return ()
    return (
        Comment("Endpoints are asked for once a second, of the controller."),
        Directive("resolver", (settings.resolver, "valid=1s")),
        Directive("resolver_timeout", ("2s",)),
    )


def _upstream_defaults(settings: NginxSettings) -> tuple[Node, ...]:
    size = str(settings.response_header_bytes)
    return (
        Directive("proxy_http_version", ("1.1",)),
        Directive("proxy_buffering", ("off",)),
        Directive("proxy_request_buffering", ("off",)),
        Directive("proxy_buffer_size", (size,)),
        Directive("proxy_buffers", ("8", size)),
        Directive("proxy_max_temp_file_size", ("0",)),
        Directive("proxy_redirect", ("off",)),
        Directive("proxy_socket_keepalive", ("on",)),
        Directive("proxy_connect_timeout", (duration(settings.connect_timeout),)),
        Directive("proxy_read_timeout", (duration(settings.read_timeout),)),
        Directive("proxy_send_timeout", (duration(settings.send_timeout),)),
        Directive("proxy_next_upstream", ("error", "timeout")),
        Directive("proxy_next_upstream_tries", ("2",)),
        Directive("proxy_ssl_server_name", ("on",)),
        Directive("proxy_ssl_name", (Value(Variable("host")),)),
        Directive("proxy_ssl_protocols", ("TLSv1.2", "TLSv1.3")),
        # With these an endpoint could send a request to any location of its host, past what protects it.
        Directive(
            "proxy_ignore_headers",
            (
                "X-Accel-Redirect",
                "X-Accel-Expires",
                "X-Accel-Limit-Rate",
                "X-Accel-Buffering",
                "X-Accel-Charset",
            ),
        ),
        *(Directive("proxy_pass_header", (name,)) for name in ("Date", "Server")),
        *hidden_fields(),
        Directive("include", ("request-fields.conf",)),
    )


def hidden_fields(more: tuple[str, ...] = ()) -> tuple[Directive, ...]:
    """The response header fields that are not passed on: hop-by-hop fields, and *more*."""
    return tuple(Directive("proxy_hide_header", (name,)) for name in (*_HOP_BY_HOP, *more))


_HOP_BY_HOP: Final = ("Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection", "TE", "Trailer")
