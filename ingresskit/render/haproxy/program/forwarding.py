"""The rules that find out who the client is, and send that to endpoints.

They say the same as `ingresskit.proxy.message.forwarded`. HAProxy has no loops, so the walk from the peer to
the client is written out for as many trusted proxies as there can be in a row.

Source: RFC 7239; RFC 9110, section 7.6.1; RFC 9440.
"""

from __future__ import annotations

from typing import Final

from ingresskit.render.haproxy.lines import SCHEME_SAID, Lines, substituted
from ingresskit.render.haproxy.program.requests import HOST
from ingresskit.render.haproxy.program.streams import INNER
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import Speaks
from ingresskit.render.haproxy.settings import HaproxySettings

__all__ = ["MOST_HOPS", "add_client", "add_forwarded", "add_hop_by_hop"]

MOST_HOPS: Final = 8
"""How many trusted proxies in a row are seen through. HAProxy itself looks at the last ten values."""

# Fields by which a proxy says who the client is; a peer that is not trusted does not get to say it.
_CLIENT_FIELDS: Final = (
    "^(forwarded|x-real-ip|x-scheme|client-cert|client-cert-chain|x-client-cert"
    "|x-forwarded.*|ssl-client-.*|x-ssl-client-.*)$"
)
_HOP_BY_HOP: Final = "^(keep-alive|trailer|http2-settings|proxy|proxy-.*)$"
_SAID: Final = (
    ("X-Forwarded-Proto", "proto"),
    ("X-Forwarded-Port", "port"),
    ("X-Forwarded-Host", "said_host"),
    ("X-Real-IP", "client"),
)
_NAMES_PORT: Final = "{ req.fhdr(host) -m reg :[0-9]+$ }"
_SAID_PORT: Final = (
    "^0{0,4}([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
)
_OWN_TOKENS: Final = (
    "^([ ,]|close|keep-alive|upgrade|te|http2-settings|host|x-forwarded(-[a-z]+)?|x-real-ip|forwarded)*$"
)
_REQUEST_ID: Final = "^[A-Za-z0-9._=+/:@-]{1,128}$"
_PROTOCOL: Final = "^[A-Za-z0-9._+-]{1,32}(/[A-Za-z0-9._-]{1,16})?$"


def add_client(section: Lines, settings: HaproxySettings, *, passes: bool = False) -> None:
    """Leave the client's address in ``txn.client``, and whether it spoke TLS in ``txn.proto``."""
    section.note("Who the client is: txn.client. What it used: txn.proto, txn.port.")
    if settings.proxy_protocol or settings.trusted_proxies:
        section.request("set-var(txn.peer) " + _address("src"))
    else:
        section.request("set-var(txn.peer) src")
    section.request(
        "set-var(txn.client) var(txn.peer)",
        "set-var(txn.proto) str(http)",
        "set-var(txn.proto) str(https) if { ssl_fc }",
    )
    if settings.trusted_proxies:
        section.note(
            "The peer may be a trusted proxy: the client is the right-most address that is not trusted."
        )
        section.networks("trusted var(txn.peer) -m ip", settings.trusted_proxies)
        section.networks("trusted-hop var(txn.client) -m ip", settings.trusted_proxies)
        section.add("acl walking var(txn.walking) -m found")
        section.add("acl chain req.fhdr(x-forwarded-for) -m found")
        section.add("acl tls-said var(txn.proto) -m str https")
        section.request("set-var(txn.walking) bool(true) if trusted")
        for hop in range(1, MOST_HOPS + 1):
            named = substituted('^(.*;)? *for *= *"?([^";, ]*).*$', r"\2", "i")
            section.request(
                "unset-var(txn.hop) if walking",
                f"set-var(txn.hop) {_address(f'req.hdr(x-forwarded-for,-{hop})')} if walking chain",
                f"set-var(txn.hop) {_address(f'req.hdr(forwarded,-{hop}),{named}')} if walking !chain",
                "unset-var(txn.walking) unless { var(txn.hop) -m found }",
                "set-var(txn.client) var(txn.hop) if walking",
                "unset-var(txn.walking) unless trusted-hop",
            )
        section.request(
            f"set-var(txn.proto) req.hdr(x-forwarded-proto,1),lower if trusted {SCHEME_SAID}",
        )
    section.note("The port that the client used: that of Host, else the public port of its scheme.")
    port_alone = substituted("^.*:", "")
    section.request(
        f"set-var(txn.port) int({settings.public_http_port})",
        f"set-var(txn.port) int({settings.public_https_port or 443}) if {{ var(txn.proto) -m str https }}",
        f"set-var(txn.host_port) {quote(f'req.fhdr(host),{port_alone},add(0)')} if {_NAMES_PORT}",
        "set-var(txn.port) var(txn.host_port) if { var(txn.host_port) -m int gt 0 }",
    )
    if settings.proxy_protocol:
        # Where the connection is of another scheme than the request, an earlier proxy took the request at
        # a port of its own.
        section.add("# A PROXY header of the kind LOCAL or UNKNOWN names no addresses: they stay as they were.")
        section.add("acl proxy-silent var(txn.after),strcmp(sess.before) eq 0")
        if passes:
            section.add("# Connections from the part that reads server names have one of its own as well.")
            section.add(f"acl proxy-silent so_id {INNER}")
        section.request(
            "set-var-fmt(txn.after) %[src]:%[src_port] if { fc_rcvd_proxy }",
            "set-var(txn.port) dst_port if { fc_rcvd_proxy } !proxy-silent tls-said { ssl_fc }",
            "set-var(txn.port) dst_port if { fc_rcvd_proxy } !proxy-silent !tls-said !{ ssl_fc }",
        )
    if settings.trusted_proxies:
        section.request(
            "set-var(txn.port) req.hdr(x-forwarded-port,1),add(0)"
            f" if trusted {{ req.hdr(x-forwarded-port,1) -m reg {quote(_SAID_PORT)} }}",
        )


def add_hop_by_hop(section: Lines) -> None:
    """Take out what concerns this connection only, and what some applications take for something else."""
    section.note("Fields of this connection only go no further. HAProxy cannot remove fields that the client")
    section.add("# names, so a request is refused whose Connection names any but those that end here anyway.")
    own = f"{{ req.fhdr(connection) -m reg -i {quote(_OWN_TOKENS)} }}"
    section.add(
        f"acl upgrade-fit req.fhdr(upgrade) -m reg {quote(_PROTOCOL)}",
        "acl upgrade-asked req.hdr(connection) -m str -i upgrade",
        "acl upgrade-unfit req.fhdr(upgrade) -m beg -i h2 h3 http tls",
        "acl upgrade-unfit req.fhdr_cnt(upgrade) gt 1",
        "acl upgrade-unfit req.hdr_val(content-length) gt 0",
        "acl upgrade-unfit req.fhdr(transfer-encoding) -m found",
    )
    section.request(
        f"deny deny_status 400 if {{ req.hdr(connection) -m found }} !{own}",
        # A condition on a field holds when one of several has it.
        "deny deny_status 400 if { req.fhdr_cnt(connection) gt 1 }",
        "del-header upgrade unless upgrade-fit upgrade-asked !upgrade-unfit",
        "del-header connection unless { req.fhdr(upgrade) -m found }",
        f"del-header {quote(_HOP_BY_HOP)} -m reg",
        # RFC 9113, section 8.2.2. Servers of gRPC's C library refuse calls without it.
        f"del-header te unless {{ var(txn.speaks) -m str {Speaks.HTTP2} }} {{ req.hdr(te) -m str -i trailers }}"
        " { req.hdr_cnt(te) eq 1 }",
        "set-var(txn.upgrade) bool(true) if { req.fhdr(upgrade) -m found }",
    )
    section.note("These authenticate a connection: no other request takes it after them.")
    section.request("set-header Connection close if { req.fhdr(authorization) -m beg -i ntlm negotiate }")
    section.note(
        "HAProxy reuses the connection of a request that it did not send whole, when a client of HTTP/2"
    )
    section.add(
        "# ends its upload early, and the next request becomes the rest of that body. So it ends with it."
    )
    section.add("# Of HTTP/2 to endpoints each request is a stream of its own, whose end says so.")
    unfinished = (
        "{ fc_http_major 2 } !{ internal.htx.has_eom } !{ var(txn.upgrade) -m found }"
        f" !{{ var(txn.speaks) -m str {Speaks.HTTP2} }}"
    )
    section.request(f"set-header Connection close if {unfinished}")


def add_forwarded(section: Lines, settings: HaproxySettings) -> None:
    """Send the client's address, scheme and host to the endpoint."""
    trusted = bool(settings.trusted_proxies)
    unless = " unless trusted" if trusted else ""
    say = "set-header" if trusted else "add-header"  # where nothing was left, nothing is to be replaced
    section.note("Header fields for endpoints. Those of clients with these names are dropped.")
    section.request("set-var(txn.said_host) req.fhdr(host)")
    if trusted:
        six, chain = "{ var(txn.peer) -m sub : }", "{ req.fhdr(forwarded) -m found }"
        decent = f"{{ req.hdr(x-forwarded-host,1) -m reg {quote(HOST)} }}"
        section.request(
            f"set-var(txn.said_host) req.hdr(x-forwarded-host,1) if trusted {decent}",
            f"add-header Forwarded for=%[var(txn.peer)];proto=%[var(txn.proto)] if trusted {chain} !{six}",
            "add-header Forwarded 'for=\"[%[var(txn.peer)]]\";proto=%[var(txn.proto)]'"
            f" if trusted {chain} {six}",
        )
    request_id = quote("%[uuid()," + substituted("-", "", "g") + "]")
    decent = f"{{ req.fhdr(x-request-id) -m reg {quote(_REQUEST_ID)} }} {{ req.fhdr_cnt(x-request-id) eq 1 }}"
    section.request(
        f"del-header {quote(_CLIENT_FIELDS)} -m reg{unless}",
        "add-header X-Forwarded-For %[var(txn.peer)]",
        *(f"{say} {name} %[var(txn.{value})]" for name, value in _SAID),
        f"set-header X-Request-ID {request_id} unless {decent}",
        "set-var(txn.request_id) req.fhdr(x-request-id)",
    )


def _address(expression: str) -> str:
    """An address from text, as X-Forwarded-For has them: some have ports, and IPv4 may be mapped into IPv6."""
    steps = (
        expression,
        substituted(r"^\[([^]]*)\](:[0-9]{1,5})?$", r"\1"),
        substituted(r"^([0-9.]+):[0-9]{1,5}$", r"\1"),
        substituted(r"^::ffff:([0-9.]+)$", r"\1", "i"),
        "ipmask(32,128)",
    )
    return quote(",".join(steps))
