"""Which certificate serves which TLS server name."""

from __future__ import annotations

from collections.abc import Mapping

from ingresskit.models import ObjectKey
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.tree import Block, Directive, Node, Value, Variable

__all__ = ["server_name_nodes"]


def server_name_nodes(server_names: Mapping[str, ObjectKey | None]) -> tuple[Node, ...]:
    """``server-names.conf``: from the server name of a handshake to the id of a certificate.

    A name goes before a wildcard, and a wildcard takes one label: so the maps are asked one after the
    other, the second one with what follows the first label.
    """
    names: list[Directive] = []
    wildcards: list[Directive] = []
    for served, key in server_names.items():
        identifier = DEFAULT_CERTIFICATE if key is None else certificate_id(key)
        host = served.removeprefix("*.")
        # The backslash is nginx's way to say that a key is a name, even "default" or "include".
        (names if host == served else wildcards).append(Directive(f"\\{host}", (identifier,)))
    name, parent, by_parent = Variable("ik_server_name"), Variable("ik_parent"), Variable("ik_wildcard_id")
    captured = Variable("ik_c_parent"), Variable("ik_c_name")
    return (
        Block(
            "map",
            (Variable("ssl_server_name"), name),
            (
                Directive(rf"~^(?<{captured[1].name}>.+)\.$", (Value(captured[1]),)),
                Directive("default", (Value(Variable("ssl_server_name")),)),
            ),
        ),
        Block(
            "map",
            (name, parent),
            (
                Directive(rf"~^[^.]+\.(?<{captured[0].name}>.+)$", (Value(captured[0]),)),
                Directive("default", ("",)),
            ),
        ),
        Block("map", (parent, by_parent), (Directive("default", (DEFAULT_CERTIFICATE,)), *wildcards)),
        Block(
            "map",
            (name, Variable("ik_certificate_id")),
            (Directive("default", (Value(by_parent),)), *names),
        ),
    )
