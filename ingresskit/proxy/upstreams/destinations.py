"""Which address a name may be connected at."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

__all__ = ["DestinationRefused", "permitted_address"]


class DestinationRefused(Exception):
    """Raised when no address of a name may be connected to. Its text is a clause in fixed words."""


async def permitted_address(host: str, port: int, fault_of: Callable[[str], str | None] | None) -> str:
    """The address to connect to, as the destination policy lets it be.

    A name is looked up here, and the very address that was judged is to be connected to: a second look-up
    could give another one.

    Args:
        host: A numeric address or a name.
        port: For the look-up.
        fault_of: As `ProxySettings.destination_fault`.

    Raises:
        DestinationRefused: There is none.
        OSError: The name cannot be looked up.
    """
    try:
        ipaddress.ip_address(host)
        addresses = [host]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
    fault = "the name has no address"
    for address in addresses:
        reason = fault_of(address) if fault_of is not None else None
        if reason is None:
            return address
        fault = f"the address is not allowed: it {reason}"
    raise DestinationRefused(fault)
