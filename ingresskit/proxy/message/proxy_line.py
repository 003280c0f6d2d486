"""The PROXY protocol as it is sent to endpoints.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingresskit.proxy.message.forwarded import Address

__all__ = ["proxy_line"]


def proxy_line(source: Address, source_port: int, destination: Address, destination_port: int) -> bytes:
    """The header of version 1 for a connection between two addresses.

    Where they are of different families, both are written in that of IPv6.
    """
    if source.version == destination.version == 4:
        family, ends = "TCP4", (str(source), str(destination))
    else:
        family, ends = "TCP6", (_six(source), _six(destination))
    return f"PROXY {family} {ends[0]} {ends[1]} {source_port} {destination_port}\r\n".encode("ascii")


def _six(address: Address) -> str:
    return f"::ffff:{address}" if address.version == 4 else str(address)
