"""Sends copies of requests: each on a connection of its own, of whose response nothing is kept."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_address

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.copies import Copy
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["send_copy"]

# Of a response, before the connection is cut: an endpoint that has no end of it is not worth the wait.
_MOST_READ: Final = 1 << 20
_PIECE: Final = 65536


async def send_copy(copy: Copy, settings: ProxySettings) -> str:
    """What went wrong, as a clause in fixed words; empty when something came back."""
    try:
        async with asyncio.timeout(copy.timeout):
            return await _send(copy, settings)
    except TimeoutError:
        return "no response in time"
    except DestinationRefused as exc:
        return str(exc)
    except (OSError, ValueError) as exc:
        return f"the copy cannot be sent: {type(exc).__name__}"


async def _send(copy: Copy, settings: ProxySettings) -> str:
    judge = None if copy.judged else settings.destination_fault
    reader, writer = await asyncio.open_connection(
        await permitted_address(copy.address, copy.port, judge),
        copy.port,
        ssl=None if copy.server_name is None else await asyncio.to_thread(_context, copy.verified),
        server_hostname=copy.server_name,
    )
    try:
        # Sent beside the reading: whoever responds early must not stop a copy for good.
        writer.write(_octets(copy))
        read = 0
        while read < _MOST_READ and (data := await reader.read(_PIECE)):
            read += len(data)
        return "" if read else "the connection was closed without a response"
    finally:
        writer.transport.abort()


def _octets(copy: Copy) -> bytes:
    # Of a body that is left out, or empty, some applications want to know the length all the same.
    framed = copy.body or copy.method in (b"POST", b"PUT", b"PATCH")
    length = b"Content-Length: %d\r\n" % len(copy.body) if framed else b""
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bConnection: close\r\n\r\n"
    return head % (copy.method, copy.target, copy.host, copy.lines, length) + copy.body


def _context(verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
