"""Which protocol a TLS connection speaks: the one that its handshake settled on (RFC 7301)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from typing_extensions import override

__all__ = ["AlpnSwitch"]


class AlpnSwitch(asyncio.Protocol):
    """Stands for a connection until its handshake is done, and then gives it to one of two codecs.

    Args:
        http2: Makes the codec of those that settled on ``h2``.
        other: Makes that of all others.
    """

    __slots__ = ("_http2", "_other")

    def __init__(self, http2: Callable[[], asyncio.Protocol], other: Callable[[], asyncio.Protocol]) -> None:
        self._http2 = http2
        self._other = other

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection: object = transport.get_extra_info("ssl_object")
        chosen = connection.selected_alpn_protocol() if isinstance(connection, ssl.SSLObject) else None
        protocol = self._http2() if chosen == "h2" else self._other()
        cast(asyncio.Transport, transport).set_protocol(protocol)
        protocol.connection_made(transport)
