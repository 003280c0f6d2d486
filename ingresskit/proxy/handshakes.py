"""What a TLS handshake with a client found out, kept beside the connection."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final, cast

from ingresskit.filters import Handshake, read_certificate
from ingresskit.policies import ClientCertificates

__all__ = ["ClientTls", "chain_depth", "handshake_of"]

# OpenSSL itself keeps no more.
_MOST_SESSIONS: Final = 20_480
_NOTHING_ASKED: Final = Handshake()


class ClientTls(ssl.SSLObject):
    """A TLS connection from a client, and what was asked of it in its handshake."""

    rule_host: str | None = None
    asked: ClientCertificates | None = None
    depths: dict[bytes, int] | None = None
    """By session, how many certificates stood between those of client and CA when it was made."""


def handshake_of(connection: object) -> Handshake | None:
    """What the handshake of *connection* found out; ``None``: it is no TLS connection."""
    if not isinstance(connection, ssl.SSLObject):
        return None
    if not isinstance(connection, ClientTls) or connection.asked is None:
        return _NOTHING_ASKED
    asked, rule_host = connection.asked, connection.rule_host
    der = connection.getpeercert(binary_form=True)
    if der is None:
        return Handshake(rule_host=rule_host, asked=asked)
    depth = _depth(connection)
    if depth is None:
        return _NOTHING_ASKED
    try:
        certificate = read_certificate(der, depth=depth)
    except ValueError:
        return _NOTHING_ASKED
    return Handshake(rule_host=rule_host, asked=asked, certificate=certificate)


def _depth(connection: ClientTls) -> int | None:
    """How many certificates stand between those of client and CA; ``None``: that is not known any more."""
    session = None if connection.session is None else connection.session.id
    depths = {} if connection.depths is None else connection.depths
    if connection.session_reused:
        # OpenSSL keeps the certificate of a session, and not the chain that it was verified by.
        return depths.get(session) if session is not None else None
    depth = chain_depth(connection)
    if depth is None:
        return None
    if session is not None:
        if len(depths) >= _MOST_SESSIONS:
            depths.clear()
        depths[session] = depth
    return depth


def chain_depth(connection: ssl.SSLObject) -> int | None:
    """How many certificates stand between that of the peer and that of the CA; ``None``: that is not known."""
    # Public from Python 3.13 on; before that, only the object inside has it.
    inside = connection if hasattr(connection, "get_verified_chain") else getattr(connection, "_sslobj", None)
    chain = getattr(inside, "get_verified_chain", None)
    found = None if chain is None else cast("Sequence[object] | None", chain())
    return max(0, len(found) - 2) if found else None
