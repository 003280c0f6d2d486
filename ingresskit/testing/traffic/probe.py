"""One look at what a proxy serves for a host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import anyio
import anyio.abc
from anyio.streams.tls import TLSAttribute

from ingresskit.testing import pace
from ingresskit.testing.loopback import Address, connect_tls

__all__ = ["Look", "look_at"]

_DEADLINE_SECONDS = pace.within(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came back.

    Attributes:
        status: The status; 0 when the connection ended without an answer.
        body: The body of an answer that is not chunked.
        fingerprint: SHA-256 of the certificate shown, lower-case hexadecimal; empty without TLS.
    """

    status: int
    body: bytes = b""
    fingerprint: str = ""


async def look_at(host: str, address: Address, *, tls: bool = False) -> Look:
    """Ask for ``/`` of *host* on a connection of its own.

    Raises:
        TimeoutError: Nothing came back within 10 seconds.
        OSError: There is no connection.
        ssl.SSLError: There is one, and TLS failed on it.
    """
    fingerprint = ""
    stream: anyio.abc.ByteStream
    with anyio.fail_after(_DEADLINE_SECONDS):
        if tls:
            stream = await connect_tls(address, host)
            der = stream.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610 - not Django's
            fingerprint = hashlib.sha256(der or b"").hexdigest()
        else:
            stream = await anyio.connect_tcp(*address)
        received = b""
        try:
            await stream.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            head, _, body = received.partition(b"\r\n\r\n")
        finally:
            await anyio.aclose_forcefully(stream)
    parts = head.split(b" ", 2)
    return Look(status=int(parts[1]) if len(parts) > 1 else 0, body=body, fingerprint=fingerprint)
