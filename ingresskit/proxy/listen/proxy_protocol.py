"""The PROXY protocol, versions 1 and 2: a load balancer says who the client is before the client speaks.

It stands before TLS, so it is read from the bare socket, byte-exact, before the event loop's
transports see the connection.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from ingresskit.proxy.message.forwarded import Address, parse_address

__all__ = ["BadProxyHeader", "read_proxy_header"]

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n")
_MAX_V1: Final = 107
_MAX_V2: Final = 4096


class BadProxyHeader(ValueError):
    """Raised when a connection does not begin with a PROXY header, or with a wrong one."""


async def read_proxy_header(connection: socket.socket) -> tuple[Address, int] | None:
    """The client's address and the port it connected to, as the header says; not a byte more is read.

    Args:
        connection: Not blocking, nothing read from it yet.

    Returns:
        ``None`` when the header speaks for the peer itself (health checks, ``UNKNOWN``).

    Raises:
        BadProxyHeader: There is no header, or it is wrong.
        OSError: The connection broke.
    """
    loop = asyncio.get_running_loop()

    async def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await loop.sock_recv(connection, count - len(data))
            if not more:
                raise BadProxyHeader("ended before its PROXY header did")
            data += more
        return data

    first = await exactly(len(_SIGNATURE))
    if first == _SIGNATURE:
        return await _version_two(exactly)
    if first.startswith(b"PROXY "):
        return await _version_one(first, exactly)
    raise BadProxyHeader("does not begin with a PROXY header")


async def _version_one(first: bytes, exactly: Callable[[int], Awaitable[bytes]]) -> tuple[Address, int] | None:
    line = first
    while not line.endswith(b"\n"):
        if len(line) >= _MAX_V1:
            raise BadProxyHeader("has a PROXY line that is too long")
        line += await exactly(1)
    if _V1_UNKNOWN.fullmatch(line):
        return None
    found = _V1.fullmatch(line)
    if found is None:
        raise BadProxyHeader("has a wrong PROXY line")
    family, source, _, _, port = (part.decode("ascii") for part in found.groups())
    if int(port) > 65535 or (family == "TCP4") != ("." in source and ":" not in source):
        raise BadProxyHeader("has a wrong PROXY line")
    try:
        return parse_address(source), int(port)
    except ValueError as exc:
        raise BadProxyHeader("has a wrong address in its PROXY line") from exc


async def _version_two(exactly: Callable[[int], Awaitable[bytes]]) -> tuple[Address, int] | None:
    command, family, length = struct.unpack("!BBH", await exactly(4))
    if length > _MAX_V2:
        raise BadProxyHeader("has a PROXY header that is too long")
    data = await exactly(length)
    if command == 0x20:
        return None
    if command != 0x21:
        raise BadProxyHeader("has a PROXY header of another version or command")
    if family == 0x11 and length >= 12:
        return parse_address(socket.inet_ntop(socket.AF_INET, data[:4])), int(
            struct.unpack("!H", data[10:12])[0]
        )
    if family == 0x21 and length >= 36:
        return parse_address(socket.inet_ntop(socket.AF_INET6, data[:16])), int(
            struct.unpack("!H", data[34:36])[0]
        )
    if family == 0x00:
        return None
    raise BadProxyHeader("has a PROXY header for something that is not TCP")
