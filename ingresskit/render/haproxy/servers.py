"""How a server is declared: the same words in the file and in the runtime API's ``add server``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from ingresskit.graph import Backend, Endpoint, Protocol
from ingresskit.policies import TlsIdentity, TlsVersion, UpstreamTls
from ingresskit.render.haproxy.artifact import Identity, Server, ServerTls, identity_path

__all__ = ["make_server", "make_servers", "server_words", "shown_identity"]

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

_VERSIONS: Final[Mapping[TlsVersion, str]] = {TlsVersion.V1_2: "TLSv1.2", TlsVersion.V1_3: "TLSv1.3"}


def make_servers(backend: Backend) -> tuple[Server, ...]:
    """The servers for the endpoints of a backend, in their order.

    A policy that verifies them never gets here: it is left to the delegate.
    """
    tls = _tls(backend)
    return tuple(make_server(item, backend.protocol, tls) for item in backend.endpoints)


def shown_identity(backend: Backend) -> Identity | None:
    """The certificate that the servers of *backend* name; ``None``: none."""
    found = _identity(backend)
    return None if found is None else Identity(digest=found.digest, pem=found.private_key + found.chain)


def _identity(backend: Backend) -> TlsIdentity | None:
    policy = backend.policies.get(UpstreamTls)
    spoken = backend.protocol.is_secure and backend.endpoints
    return policy.identity if spoken and policy is not None else None


def _tls(backend: Backend) -> ServerTls | None:
    policy = backend.policies.get(UpstreamTls)
    if policy is None or not backend.protocol.is_secure:
        return None
    identity = _identity(backend)
    return ServerTls(
        identity="" if identity is None else identity.digest,
        name=policy.name_for(backend.key.service, backend.key.namespace),
        sends_name=policy.send_name,
        ciphers=policy.ciphers,
        versions=(_VERSIONS[policy.versions[0]], _VERSIONS[policy.versions[-1]])
        if policy.versions
        else ServerTls().versions,
    )


def make_server(endpoint: Endpoint, protocol: Protocol, tls: ServerTls | None = None) -> Server:
    """The server for an endpoint whose address is one, or the path of the delegate's socket."""
    if endpoint.address.startswith("/"):
        return Server(name="delegate", address=endpoint.address, port=endpoint.port, protocol=protocol)
    return Server(
        name=f"{endpoint.address}_{endpoint.port}",
        address=endpoint.address,
        port=endpoint.port,
        protocol=protocol,
        tls=tls,
    )


def server_words(server: Server) -> tuple[str, ...]:
    """What stands behind the server's name: its address and its options.

    The certificates of endpoints are not judged here: those that must be are the delegate's.
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
        case Protocol.TCP:
            return (address, *_HEALTH, "port", str(server.port))
        case Protocol.HTTPS:
            return (address, *_tls_words(server.tls or ServerTls()), *common)
        case Protocol.GRPCS:
            # The protocol is named as well: an endpoint that takes no ALPN speaks it all the same.
            tls = _tls_words(server.tls or ServerTls())
            return (address, *tls, "alpn", "h2", "proto", "h2", *common)
        case Protocol.H2C | Protocol.GRPC:
            return (address, "proto", "h2", *common)
        case _:
            assert_never(server.protocol)


def _tls_words(tls: ServerTls) -> tuple[str, ...]:
    oldest, newest = tls.versions
    name = f"str({tls.name})" if tls.name else "var(txn.server_name)"
    return (
        *("ssl", "verify", "none", "ssl-min-ver", oldest),
        *(("ssl-max-ver", newest) if newest else ()),
        *(("ciphers", ":".join(tls.ciphers)) if tls.ciphers else ()),
        *(("crt", identity_path(tls.identity)) if tls.identity else ()),
        *(("sni", name) if tls.sends_name else ()),
    )
