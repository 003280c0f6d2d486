"""What tests of HTTP/2 in this folder share."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator

from ingresskit.proxy import Proxy
from ingresskit.proxy.h2.engine import PREFACE
from ingresskit.testing.http2 import Http2Client
from tests.unit.proxy.conftest import LONG
from tests.unit.proxy.test_tls import trusting

HOST = "web.example"
SETTINGS = struct.pack("!I", 0)[1:] + b"\x04\x00" + bytes(4)


@contextlib.asynccontextmanager
async def http2(
    proxy: Proxy, *, listener: int = 0, tls: bool = False, window: int = 1 << 20, library: str = ""
) -> AsyncGenerator[Http2Client]:
    """A client of HTTP/2, on one of the proxy's listeners."""
    host, port = proxy.listeners[listener].address
    context = trusting("h2") if tls else None
    connecting = Http2Client.connect(host, port, tls=context, name=HOST, window=window, library=library)
    async with asyncio.timeout(LONG), await connecting as client:
        yield client


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The octets of a frame."""
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field without index and Huffman code."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """A block of such fields."""
    return b"".join(literal(name, value) for name, value in fields)


def opening(*frames: bytes) -> bytes:
    """What a client begins with, and *frames*."""
    return b"".join((PREFACE, SETTINGS, *frames))
