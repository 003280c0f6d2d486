"""Which address a name may be connected at."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

__all__ = ["DestinationRefused", "permitted_address", "permitted_addresses"]


class DestinationRefused(Exception):
    """Raised when no address of a name may be connected to. Its text is a clause in fixed words."""


async def permitted_addresses(host: str, port: int, fault_of: Callable[[str], str | None] | None) -> list[str]:
    """The addresses that may be connected to, as the destination policy lets them be; at least one.

    A name is looked up here, and the very addresses that were judged are to be connected to: a second look-up
    could give others.

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
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    fault = "the name has no address"
    permitted: list[str] = []
    for address in addresses:
        reason = fault_of(address) if fault_of is not None else None
        if reason is None:
            permitted.append(address)
        else:
            fault = f"the address is not allowed: it {reason}"
    if not permitted:
        raise DestinationRefused(fault)
    return permitted


async def permitted_address(host: str, port: int, fault_of: Callable[[str], str | None] | None) -> str:
    """The first of `permitted_addresses`, with the same errors."""
    return (await permitted_addresses(host, port, fault_of))[0]
