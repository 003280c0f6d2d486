"""How a server is declared: the same words in the file and in the runtime API's ``add server``."""

from __future__ import annotations

from typing import assert_never

from ingresskit.graph import Endpoint, Protocol
from ingresskit.render.haproxy.artifact import Server

__all__ = ["make_server", "server_words"]

# What is the default in a file, and is not at runtime: 2.6 gives a server that is added there no pool of
# idle connections, and makes one for each request.
_POOL = ("pool-max-conn", "-1", "pool-purge-delay", "5s")
# One connection that cannot be made takes a server out, and one that HAProxy makes for that every second
# takes it in again. While a server is in, it is hardly ever tried: requests show whether it takes
# connections. With a port of its own the try is of TCP alone, and needs no name for TLS.
_HEALTH = (
    *("check", "inter", "1h", "fastinter", "1s", "downinter", "1s", "rise", "1", "fall", "1"),
    *("observe", "layer4", "error-limit", "1", "on-error", "mark-down"),
)

_TLS = ("ssl", "verify", "none", "ssl-min-ver", "TLSv1.2", "sni", "var(txn.server_name)")


def make_server(endpoint: Endpoint, protocol: Protocol) -> Server:
    """The server for an endpoint whose address is one, or the path of the delegate's socket."""
    if endpoint.address.startswith("/"):
        return Server(name="delegate", address=endpoint.address, port=endpoint.port, protocol=protocol)
    return Server(
        name=f"{endpoint.address}_{endpoint.port}",
        address=endpoint.address,
        port=endpoint.port,
        protocol=protocol,
    )


def server_words(server: Server) -> tuple[str, ...]:
    """What stands behind the server's name: its address and its options.

    The certificates of endpoints are not judged, as nothing says by whom they should be signed.
    """
    if server.address.startswith("/"):
        return (f"unix@{server.address}", *_POOL, *_HEALTH)
    # The prefixes say what it is: a bare IPv6 address and its port would be one longer address.
    family = "ipv6" if ":" in server.address else "ipv4"
    address = f"{family}@{server.address}:{server.port}"
    common = (*_POOL, *_HEALTH, "port", str(server.port))
    match server.protocol:
        case Protocol.HTTP:
            return (address, *common)
        case Protocol.HTTPS:
            return (address, *_TLS, *common)
        case Protocol.GRPCS:
            # The protocol is named as well: an endpoint that takes no ALPN speaks it all the same.
            return (address, *_TLS, "alpn", "h2", "proto", "h2", *common)
        case Protocol.H2C | Protocol.GRPC:
            return (address, "proto", "h2", *common)
        case _:
            assert_never(server.protocol)
