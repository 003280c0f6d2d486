"""Who the client is, and how endpoints get to know it: maps, and the header fields of every request.

Whom we believe is decided by the address of the peer (``$realip_remote_addr``), not by that of the
client, which a believed peer tells us (``$remote_addr``).

What nginx cannot do without a module is to drop fields by a pattern. So of the ``X-Forwarded-`` family,
and of what proxies say of client certificates, the names that are in use are dropped one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.normal_form import outside_local_replies
from ingresskit.render.nginx.tree import Argument, Block, Directive, Node, Value, Variable

__all__ = [
    "INSECURE",
    "INSECURE_REQUEST",
    "REQUEST_FIELDS",
    "SECURE_PORT",
    "SHOWN_SECURE_PORT",
    "forwarding_maps",
    "realip_directives",
    "request_fields",
]

INSECURE: Final = Variable("ik_insecure")
"""``1`` when the client did not use TLS, neither to us nor to a proxy that we believe."""

SECURE_PORT: Final = Variable("ik_secure_port")
"""What follows the host in a redirect to TLS: a colon and the port; empty for 443."""

SHOWN_SECURE_PORT: Final = Variable("ik_shown_secure_port")
"""The same, also for 443."""

INSECURE_REQUEST: Final = Variable("ik_insecure_request")
"""The same for a whole server: empty while nginx makes a response of its own."""

_PEER: Final = Variable("realip_remote_addr")

# Header fields accepted from trusted proxies only, dropped from all other peers; names of any case.
_BELIEVED: Final = (
    "Client-Cert",
    "Client-Cert-Chain",
    "Ssl-Client-Cert",
    "Ssl-Client-Issuer-Dn",
    "Ssl-Client-Subject-Dn",
    "Ssl-Client-Verify",
    "X-Client-Cert",
    "X-Forwarded-Access-Token",
    "X-Forwarded-By",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Method",
    "X-Forwarded-Path",
    "X-Forwarded-Prefix",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Tls-Client-Cert-Info",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Scheme",
    "X-Ssl-Client-Cert",
    "X-Ssl-Client-Dn",
    "X-Ssl-Client-Issuer-Dn",
    "X-Ssl-Client-Subject-Dn",
    "X-Ssl-Client-Verify",
)
# For one connection only (RFC 9110, 7.6.1), or to libraries a proxy to use ("Proxy").
_DROPPED: Final = (
    "HTTP2-Settings",
    "Ingresskit-Delegate",
    "Proxy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
)

_FIELDS: Final[tuple[tuple[str, Argument], ...]] = (
    ("Host", Value(Variable("host"), Variable("ik_port"))),
    ("Connection", Value(Variable("ik_connection"))),
    ("Upgrade", Value(Variable("ik_upgrade"))),
    ("X-Request-ID", Value(Variable("ik_request_id"))),
    ("X-Real-IP", Value(Variable("ik_client"))),
    ("X-Forwarded-For", Value(Variable("ik_forwarded_for"))),
    ("X-Forwarded-Proto", Value(Variable("ik_proto"))),
    ("X-Forwarded-Host", Value(Variable("ik_forwarded_host"))),
    ("X-Forwarded-Port", Value(Variable("ik_forwarded_port"))),
    ("Forwarded", Value(Variable("ik_forwarded"))),
    *((name, Value(Variable(f"ik_said_{name.lower().replace('-', '_')}"))) for name in _BELIEVED),
    *((name, "") for name in _DROPPED),
)

REQUEST_FIELDS: Final[Mapping[str, tuple[str, Argument]]] = {field[0].lower(): field for field in _FIELDS}
"""What every forwarded request is given, by lower-case name: the name, and its value (empty: dropped)."""


_HOST: Final = r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{0,254}[a-z0-9_-])\.?(?::[0-9]{0,5})?"
_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
# Behind the first element of a list.
_FIRST: Final = r"\s*(?:,|$)"


def request_fields(changes: Mapping[str, tuple[str, Argument]] | None = None) -> tuple[Directive, ...]:
    """The fields of a forwarded request as directives; *changes* are put over `REQUEST_FIELDS`.

    Where a location sets any, nginx forgets those that are set further out; hence all of them again.
    """
    if changes and not changes.keys() & REQUEST_FIELDS.keys():
        more = (Directive("proxy_set_header", field) for field in changes.values())
        return (Directive("include", ("request-fields.conf",)), *more)
    fields = {**REQUEST_FIELDS, **(changes or {})}
    return tuple(Directive("proxy_set_header", field) for field in fields.values())


def realip_directives(settings: NginxSettings) -> tuple[Directive, ...]:
    """Whose word is taken for the address of the client."""
    if settings.behind_streams:
        # Of connections from the part that reads server names.
        return (
            Directive("set_real_ip_from", ("unix:",)),
            Directive("real_ip_header", ("proxy_protocol",)),
        )
    if not settings.trusted_proxies:
        return ()
    trusted = (Directive("set_real_ip_from", (str(network),)) for network in settings.trusted_proxies)
    if settings.proxy_protocol:
        return (*trusted, Directive("real_ip_header", ("proxy_protocol",)))
    return (
        *trusted,
        Directive("real_ip_header", ("X-Forwarded-For",)),
        Directive("real_ip_recursive", ("on",)),
    )


def forwarding_maps(settings: NginxSettings) -> tuple[Node, ...]:
    """Maps for the ``http`` block, from what was said to what endpoints are told."""
    believed = () if settings.proxy_protocol else settings.trusted_proxies
    peer = Variable("remote_addr" if settings.proxy_protocol or not settings.trusted_proxies else _PEER.name)
    # Keys below have a ":" behind what this gives, so that no client can send "1".
    trusted = (
        Directive("default", ("",)),
        *(Directive(str(network), ("1",)) for network in believed),
    )
    proto, scheme = Variable("ik_proto"), Variable("scheme")
    said_peer = Variable("ik_peer")
    return (
        Block("geo", (peer, Variable("ik_trusted")), trusted),
        # An IPv4 address in the words of IPv6 is the same client.
        _map(
            Value(Variable("remote_addr")),
            "ik_real_ip",
            (r"~*^::ffff:(?<ik_c_mapped>[0-9.]+)$", Value(Variable("ik_c_mapped"))),
            ("default", Value(Variable("remote_addr"))),
        ),
        # An IPv4 client that a listener for both families took is an IPv4 client.
        _unmapped(Variable("remote_addr"), "ik_client"),
        _unmapped(peer, said_peer.name),
        # The port as the client wrote it: $host is in normal form and has none.
        _map(
            Value(Variable("http_host")),
            "ik_port",
            (r"~(?<ik_c_port>:[0-9]{1,5})$", Value(Variable("ik_c_port"))),
            ("default", ""),
        ),
        _map(
            Value(
                *(Variable("server_protocol"), " ", Variable("host"), " "),
                *(Variable("http_host"), " ", Variable("request")),
            ),
            "ik_host_fault",
            (_HOST_FIELD, ""),
            ("default", "1"),
        ),
        _map(
            Value(Variable("http_connection")),
            "ik_upgrades",
            (r"~*(?:^|[,\s])upgrade(?:[,\s]|$)", "1"),
            ("default", ""),
        ),
        _map(
            Value(Variable("ik_upgrades"), ":", Variable("http_upgrade")),
            "ik_upgrade",
            (
                # No switch to HTTP/2 or TLS with the endpoint: nginx could not check what follows.
                r"~*^1:(?!h2c?$|tls/|http/)(?<ik_c_upgrade>[A-Za-z0-9._+-]{1,32}(?:/[A-Za-z0-9._-]{1,16})?)$",
                Value(Variable("ik_c_upgrade")),
            ),
            ("default", ""),
        ),
        # These authenticate a connection: the next client on it would be taken for this one.
        _map(
            Value(Variable("http_authorization")),
            "ik_after",
            (r"~*^\s*(?:ntlm|negotiate)(?:\s|$)", "close"),
            ("default", ""),
        ),
        _map(
            Value(Variable("ik_upgrade")),
            "ik_connection",
            ("", Value(Variable("ik_after"))),
            ("default", "Upgrade"),
        ),
        _map(
            Value(Variable("http_x_request_id")),
            "ik_request_id",
            (r"~^[A-Za-z0-9._=+/:@-]{1,128}$", Value(Variable("http_x_request_id"))),
            ("default", Value(Variable("request_id"))),
        ),
        # Of a list, the first element is what the client itself used: each proxy appends what its peer used.
        _map(
            Value(Variable("ik_trusted"), ":", Variable("http_x_forwarded_proto")),
            proto.name,
            (rf"~*^1:https{_FIRST}", "https"),
            (rf"~*^1:http{_FIRST}", "http"),
            ("default", Value(scheme)),
        ),
        _map(Value(proto), INSECURE.name, ("http", "1"), ("default", "")),
        outside_local_replies(INSECURE_REQUEST.name, Value(INSECURE)),
        _map(
            Value(Variable("ik_trusted"), ":", Variable("http_x_forwarded_for")),
            "ik_forwarded_for",
            ("~^1:.", Value(Variable("http_x_forwarded_for"), ", ", said_peer)),
            ("default", Value(said_peer)),
        ),
        _map(
            Value(Variable("ik_trusted"), ":", Variable("http_x_forwarded_host")),
            "ik_forwarded_host",
            (
                rf"~*^1:(?<ik_c_said_host>{_HOST}){_FIRST}",
                Value(Variable("ik_c_said_host")),
            ),
            ("default", Value(Variable("host"), Variable("ik_port"))),
        ),
        *_client_port(settings),
        _map(
            Value(Variable("ik_trusted"), ":", Variable("http_x_forwarded_port")),
            "ik_forwarded_port",
            (
                rf"~^1:(?<ik_c_said_port>{_PORT}){_FIRST}",
                Value(Variable("ik_c_said_port")),
            ),
            ("default", Value(Variable("ik_own_port"))),
        ),
        _map(
            Value(said_peer),
            "ik_peer_node",
            ("~:", Value('"[', said_peer, ']"')),
            ("default", Value(said_peer)),
        ),
        _map(
            Value(Variable("ik_trusted"), ":", Variable("http_forwarded")),
            "ik_forwarded",
            (
                "~^1:.",
                Value(Variable("http_forwarded"), ", for=", Variable("ik_peer_node"), ";proto=", proto),
            ),
            ("default", ""),
        ),
        *(_believed(name.lower().replace("-", "_")) for name in _BELIEVED),
    )


# RFC 9110, 7.2; with a target in absolute form $host is that of the target, and both must be the same, with
# their ports. Other schemes are refused, and versions that nginx takes for 1.1 whatever they mean.
_HOST_FIELD: Final = (
    r"~*^HTTP/(?:1\.[01]|2\.0) (?<ik_c_host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{0,254}[a-z0-9_-]) "
    r"(?<ik_c_sent>\k<ik_c_host>\.?"
    r"(?::(?:[0-9]{0,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])?)?) "
    r"[^ ]+ (?:/|https?://\k<ik_c_sent>[/? ])"
)


def _client_port(settings: NginxSettings) -> tuple[Node, ...]:
    """The port that the client used, where no trusted proxy names it; and where plain HTTP is redirected to."""
    proto, public, own = Variable("ik_proto"), Variable("ik_public_port"), Variable("ik_own_port")
    named = Variable("ik_named_port") if settings.proxy_protocol else own
    proxied: tuple[Node, ...] = ()
    if settings.proxy_protocol:
        peers = (Directive(str(network), ("1",)) for network in settings.trusted_proxies)
        said = Value(
            *(Variable("ik_proxied"), ":", proto, Variable("scheme"), ":"),
            Variable("proxy_protocol_server_port"),
        )
        proxied = (
            Block("geo", (_PEER, Variable("ik_proxied")), (Directive("default", ("",)), *peers)),
            # It speaks of the connection: where that is of another scheme than the request, an earlier proxy
            # took the request at a port of its own.
            _map(
                said,
                own.name,
                (r"~^1:(?:httphttp|httpshttps):(?<ik_c_proxied>[1-9][0-9]*)$", Value(Variable("ik_c_proxied"))),
                ("default", Value(named)),
            ),
        )
    return (
        _map(
            Value(proto),
            public.name,
            ("https", str(settings.public_https_port or 443)),
            ("default", str(settings.public_http_port)),
        ),
        _map(
            Value(Variable("ik_port")),
            named.name,
            (r"~^:0*(?<ik_c_named>[1-9][0-9]{0,4})$", Value(Variable("ik_c_named"))),
            ("default", Value(public)),
        ),
        *proxied,
        # Who names the port of our own listener reaches us without a port mapping.
        _map(
            Value(Variable("server_port"), Variable("ik_port")),
            SECURE_PORT.name,
            *((f"{port}:{port}", _port_suffix(target)) for port, target in settings.own_redirects),
            ("default", _port_suffix(settings.tls_port or 443)),
        ),
        _map(Value(SECURE_PORT), SHOWN_SECURE_PORT.name, ("", ":443"), ("default", Value(SECURE_PORT))),
    )


def _port_suffix(port: int) -> str:
    return "" if port == 443 else f":{port}"


def _unmapped(source: Variable, name: str) -> Block:
    """An address without the form that IPv4 has inside IPv6."""
    inner = Variable(f"ik_c_{name.removeprefix('ik_')}")
    return _map(
        Value(source),
        name,
        (rf"~*^::ffff:(?<{inner.name}>[0-9.]+)$", Value(inner)),
        ("default", Value(source)),
    )


def _believed(name: str) -> Block:
    said = Value(Variable(f"http_{name}"))
    return _map(Value(Variable("ik_trusted")), f"ik_said_{name}", ("1", said), ("default", ""))


def _map(source: Value, result: str, *rows: tuple[str, str | Value]) -> Block:
    body = tuple(Directive(key, (value,)) for key, value in rows)
    return Block("map", (source, Variable(result)), body)
