"""A process of many endpoints: ``python -m ingresskit.testing.traffic.endpoint_process COUNT``.

Prints its ports as a JSON list, then serves until its input ends. Every request is answered 200, with
the port as the body; an upgrade is answered 101, and then every byte is sent back.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

__all__ = ["main"]

_HEAD_END = b"\r\n\r\n"
# The answer to the key of RFC 6455, section 1.3, which is the one that our clients send: HAProxy wants one.
_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class _Endpoint(asyncio.Protocol):
    """One connection. Bodies are let pass by their length; chunked ones are not expected here."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._to_skip = 0
        self._tunnel = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        port: int = transport.get_extra_info("sockname")[1]
        body = str(port).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer = head.encode() + body

    def data_received(self, data: bytes) -> None:
        if self._tunnel:
            self._transport.write(data)
            return
        self._received += data
        while not self._tunnel:
            if self._to_skip:
                skipped = min(self._to_skip, len(self._received))
                del self._received[:skipped]
                self._to_skip -= skipped
                if self._to_skip:
                    return
            end = self._received.find(_HEAD_END)
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            del self._received[: end + len(_HEAD_END)]
            self._take(head)

    def _take(self, head: bytes) -> None:
        if b"\r\nupgrade: websocket" in head:
            self._tunnel = True
            self._transport.write(_SWITCHED)
            self._transport.write(bytes(self._received))
            return
        _, found, length = head.partition(b"\r\ncontent-length:")
        self._to_skip = int(length.split(b"\r\n")[0]) if found else 0
        self._transport.write(self._answer)


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Endpoint, "127.0.0.1", 0, backlog=512) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.buffer.read)
    for server in servers:
        server.close()


def main() -> None:
    """Serve as many endpoints as the first argument says."""
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
