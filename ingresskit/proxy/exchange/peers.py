"""Who is at the other end of a client's connection, when it has just been made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingresskit.proxy.handshakes import handshake_of
from ingresskit.proxy.message.forwarded import Address, Peer, parse_address

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.admission import Admission

__all__ = ["find_peer"]


def find_peer(
    transport: asyncio.Transport, admission: Admission, *, tls: bool, proxied: tuple[Address, int] | None
) -> Peer | None:
    """Who is there; ``None`` when it is gone already.

    Args:
        transport: Of the connection.
        admission: Of its requests.
        tls: Whether it speaks TLS.
        proxied: What a PROXY header says of it.
    """
    local = transport.get_extra_info("sockname")
    remote = transport.get_extra_info("peername")
    if not local or not remote:
        return None
    return Peer(
        proxied[0] if proxied else parse_address(str(remote[0])),
        tls=tls,
        listener_port=int(local[1]),
        proxied_port=proxied[1] if proxied else 0,
        trusted=admission.runtime.settings.trusted_proxies,
        public=admission.filters.public_ports,
        handshake=handshake_of(transport.get_extra_info("ssl_object") if tls else None),
    )
