"""What a host asks clients of in the TLS handshake: directives of its server, and guards of its locations.

nginx judges the certificate before any location: without a valid one the response is 400. It compares the
server name of the handshake with ``Host`` only where that name has a server; so here is a guard of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ingresskit.graph import ANY_HOST, redirects_to_tls, solves_http01
from ingresskit.policies import ClientCertificates, PolicySet, Stage
from ingresskit.render.nginx.authorities import handshake_directives
from ingresskit.render.nginx.policies import StaticGuard, local_response
from ingresskit.render.nginx.static.locations import Served
from ingresskit.render.nginx.static.main import error_pages
from ingresskit.render.nginx.static.normal_form import LOCAL_REPLY_PATH
from ingresskit.render.nginx.static.server import Server
from ingresskit.render.nginx.tree import Directive, Value, Variable

__all__ = ["certificate_guards", "server_directives"]

_HTTPS: Final = Variable("https")
_SERVER_NAME: Final = Variable("ssl_server_name")
# Of a distinguished name (RFC 2253) the first common name, which is the most specific one.
_COMMON_NAME: Final = r"~^(?:(?!CN=)(?:[^,+\\]|\\.)+[,+])*+CN=(?<ik_c_common_name>(?:[^,+\\]|\\.)*+)(?:[,+]|$)"


def server_directives(policies: PolicySet) -> Iterator[Directive]:
    """Directives of a server with these policies of the handshake."""
    yield from handshake_directives(policies)
    if (clients := policies.get(ClientCertificates)) is None:
        return
    # Beside one of its own, a server is not handed down the others.
    yield from error_pages()
    if clients.error_page:
        yield Directive("error_page", ("495", "496", Value(clients.error_page)))
    else:
        yield Directive("error_page", ("495", "496", "=400", LOCAL_REPLY_PATH))


def certificate_guards(server: Server, taker: Served) -> Iterator[StaticGuard]:
    """What a location of *server* judges for the host of *taker*, in this order."""
    host, route = taker
    clients = host.policies_of(route).get(ClientCertificates)
    if clients is None or solves_http01(route):
        return
    plain = "~^:"
    if server.settings.tls_port is not None and redirects_to_tls(host, route):
        plain = "~^:https$"  # the others are redirected, by another guard
    scheme = Value(_HTTPS, ":", Variable("ik_proto"))
    yield _guard(server.mapped(scheme, ((plain, "1"), ("default", ""))), 403)
    if host.host != server.host.host:
        # A host that takes what the one of the server leaves: its handshake was another.
        yield _guard(server.mapped(Value(_HTTPS), (("on", "1"), ("default", ""))), 421)
        return
    named = Value(_HTTPS, ":", _SERVER_NAME)
    if host.host.startswith("*."):
        wild = ((rf"~*^on:[^.]+\.{re.escape(host.host[2:])}\.?$", ""),)
        yield _guard(server.mapped(named, (*wild, ("~^:", ""), ("default", "1"))), 421)
    elif host.host != ANY_HOST:
        own = tuple((f"on:{host.host}{dot}", "") for dot in ("", "."))
        yield _guard(server.mapped(named, (*own, ("~^:", ""), ("default", "1"))), 421)
    if (pattern := clients.name_pattern) is not None:
        found = Value("=", Variable("ik_c_common_name"))
        name = server.mapped(Value(Variable("ssl_client_s_dn")), ((_COMMON_NAME, found), ("default", "")))
        matching = "~" + pattern.pcre.replace(r"\A", r"\A=", 1)
        yield _guard(server.mapped(Value(name), ((matching, ""), ("default", "1"))), 403)


def _guard(test: Variable, status: int) -> StaticGuard:
    return StaticGuard(Stage.CERTIFICATE, test, local_response(status))
