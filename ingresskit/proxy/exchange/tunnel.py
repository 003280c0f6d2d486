"""Two connections after 101: bytes pass both ways, unread.

The side that cannot take more stops the other from being read. Silence in both directions ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingresskit.proxy.sockets import half_close

if TYPE_CHECKING:
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.proxy.h1.upstream import UpstreamConnection
    from ingresskit.proxy.plane import Plane

__all__ = ["Tunnel"]


class Tunnel:
    """An upgraded connection. The two ends call it; each end may be told to pause, end or close."""

    __slots__ = (
        "_client",
        "_client_ended",
        "_closed",
        "_endpoint_ended",
        "_on_close",
        "_plane",
        "_timeout",
        "_upstream",
    )

    def __init__(
        self,
        plane: Plane,
        client: ClientConnection,
        upstream: UpstreamConnection,
        timeout: float,
        on_close: Callable[[], None],
    ) -> None:
        self._plane = plane
        self._client = client
        self._upstream = upstream
        self._timeout = timeout
        self._on_close = on_close
        self._client_ended = False
        self._endpoint_ended = False
        self._closed = False
        upstream.tunnel = self
        plane.counters.tunnels_open += 1
        self._touch()

    def from_client(self, data: bytes) -> None:
        """Bytes for the endpoint."""
        self._touch()
        self._upstream.transport.write(data)

    def from_endpoint(self, data: bytes) -> None:
        """Bytes for the client."""
        self._touch()
        self._client.send(data)

    def pause_client(self) -> None:
        """The endpoint takes nothing at the moment."""
        self._client.hold_for_endpoint()

    def resume_client(self) -> None:
        """Undo `pause_client`."""
        self._client.release_for_endpoint()

    def pause_endpoint(self) -> None:
        """The client takes nothing at the moment."""
        self._upstream.transport.pause_reading()

    def resume_endpoint(self) -> None:
        """Undo `pause_endpoint`."""
        if not self._upstream.transport.is_closing():
            self._upstream.transport.resume_reading()

    def client_ended(self) -> bool:
        """The client sends no more. Whether its connection stays open for the other direction."""
        self._client_ended = True
        return self._pass_end_on(self._upstream.transport)

    def endpoint_ended(self) -> bool:
        """As `client_ended`, for the endpoint."""
        self._endpoint_ended = True
        return self._pass_end_on(self._client.transport)

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._close()
        self._upstream.transport.close()

    def endpoint_lost(self) -> None:
        """The endpoint's connection is gone."""
        self._close()
        self._client.close()

    def timed_out(self) -> None:
        """Nothing passed for too long."""
        self._close()
        self._upstream.transport.abort()
        self._client.abort()

    def _pass_end_on(self, other: asyncio.Transport) -> bool:
        return not (self._client_ended and self._endpoint_ended) and half_close(other)

    def _touch(self) -> None:
        deadlines = self._plane.deadlines
        deadlines.set(self._upstream, deadlines.recent + self._timeout)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._plane.counters.tunnels_open -= 1
            self._plane.deadlines.forget(self._upstream)
            self._on_close()
