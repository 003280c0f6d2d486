"""Two connections after 101: bytes pass both ways, unread.

The side that cannot take more stops the other from being read. Silence in both directions ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ingresskit.proxy.deadlines import NEVER

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.ports.tunnels import ByteEnd
    from ingresskit.proxy.statistics import Counters

__all__ = ["Direction", "Tunnel"]


class Direction:
    """The bytes of one end on their way to the other one: the `ByteReceiver` of an end of a tunnel.

    Attributes:
        target: The other end.
    """

    __slots__ = ("_tunnel", "target")

    target: ByteEnd

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def received(self, data: bytes) -> None:
        """As `ByteReceiver`."""
        self._tunnel.touch()
        self.target.write(data)

    def ended(self) -> bool:
        """As `ByteReceiver.ended`."""
        return not self._tunnel.end() and self.target.end()

    def lost(self) -> None:
        """As `ByteReceiver.lost`."""
        self._tunnel.close()
        self.target.close()

    def write_paused(self) -> None:
        """As `ByteReceiver.write_paused`."""
        self.target.pause()

    def write_resumed(self) -> None:
        """As `ByteReceiver.write_resumed`."""
        self.target.resume()


class Tunnel:
    """An upgraded connection. The bytes of each end are received by one direction of it.

    Args:
        deadlines: Of the proxy.
        counters: What to count in.
        timeout: Seconds of silence in both directions that end it.
        on_close: Called once when it is over.

    Attributes:
        from_client: The client's bytes on their way to the endpoint.
        from_endpoint: The endpoint's bytes on their way to the client.
    """

    __slots__ = (
        "_closed",
        "_counters",
        "_deadlines",
        "_ended",
        "_on_close",
        "_timeout",
        "bucket",
        "deadline",
        "from_client",
        "from_endpoint",
    )

    def __init__(
        self, deadlines: Deadlines, counters: Counters, timeout: float, on_close: Callable[[], None]
    ) -> None:
        self._deadlines = deadlines
        self._counters = counters
        self._timeout = timeout
        self._on_close = on_close
        self._closed = False
        self._ended = 0
        self.deadline: float = NEVER
        self.bucket: int | None = None
        self.from_client: Direction = Direction(self)
        self.from_endpoint: Direction = Direction(self)
        counters.tunnels_open += 1
        self.touch()

    def join(self, client: ByteEnd, endpoint: ByteEnd) -> None:
        """Begin to pass bytes."""
        from_client, from_endpoint = self.from_client, self.from_endpoint
        from_client.target = endpoint
        from_endpoint.target = client
        endpoint.start(from_endpoint)
        client.start(from_client)

    def end(self) -> bool:
        """One end sends no more. Whether neither does."""
        self._ended += 1
        return self._ended > 1

    def touch(self) -> None:
        """Bytes pass: silence begins anew."""
        deadlines = self._deadlines
        deadlines.set(self, deadlines.recent + self._timeout)

    def close(self) -> None:
        """One end is gone: count the tunnel as over."""
        if not self._closed:
            self._closed = True
            self._counters.tunnels_open -= 1
            self._deadlines.forget(self)
            self._on_close()
            del self.from_client, self.from_endpoint  # which refer to this

    def deadline_passed(self) -> None:
        """For `Deadlines`: nothing passed for too long."""
        client, endpoint = self.from_endpoint.target, self.from_client.target
        self.close()
        endpoint.abort()
        client.abort()
