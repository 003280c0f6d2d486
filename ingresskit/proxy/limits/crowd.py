"""Who is connected, and who makes room for a new connection when there are too many.

At the limit an idle connection is closed for a new one, of the client that has the most: a client that opens
thousands displaces its own, and all others are served on.
"""

from __future__ import annotations

from heapq import nlargest
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingresskit.proxy.ports.connections import ClientConnection

__all__ = ["Crowd", "Owner", "owner_of"]

Owner = int
"""A client as limits see it: an IPv4 address, or the /64 that an IPv6 host can choose its address from."""

_MOST_LOOKED_AT: Final = 64  # connections of one client, and clients, for one new connection


def owner_of(address: IPv4Address | IPv6Address) -> Owner:
    """Which client limits are for."""
    return int(address) if address.version == 4 else -(int(address) >> 64) - 1


class Crowd:
    """The connections of each client, and how many there may be of all together.

    Attributes:
        weight: Of all connections; one with TLS may weigh more.
    """

    def __init__(self, most: int, tls_weight: int) -> None:
        self._most = most
        self._tls_weight = tls_weight
        self.weight: int = 0
        # Those first that were looked at longest ago.
        self._clients: dict[Owner, dict[ClientConnection, None]] = {}

    def add(self, connection: ClientConnection, owner: Owner, *, tls: bool) -> None:
        """A connection has been made."""
        self._clients.setdefault(owner, {})[connection] = None
        self.weight += self._tls_weight if tls else 1

    def discard(self, connection: ClientConnection, owner: Owner, *, tls: bool) -> None:
        """A connection has ended."""
        connections = self._clients.get(owner)
        if connections is None or connection not in connections:
            return
        del connections[connection]
        self.weight -= self._tls_weight if tls else 1
        if not connections:
            del self._clients[owner]

    def has_room(self, owner: Owner, *, tls: bool, only_look: bool = False) -> bool:
        """Whether one more connection of *owner* may be made; closes another one for it where that helps.

        Args:
            owner: Whose it is.
            tls: Whether it is one with TLS.
            only_look: Close none yet: it has to prove first that it is one.
        """
        if self.weight + (self._tls_weight if tls else 1) <= self._most:
            return True
        by_number = nlargest(_MOST_LOOKED_AT, self._clients.values(), key=len)
        for connections in by_number:
            if (idle := self._next_idle(connections)) is not None:
                if not only_look:
                    idle.give_up("limit")
                return True
        # All are at work. A client that has most of them gives one up for another client.
        most = by_number[0] if by_number else {}
        own = self._clients.get(owner, {})
        if len(most) > self._most // 2 and len(own) < len(most) // 2:
            if only_look:
                return True
            connection = next(iter(most))
            del most[connection]
            most[connection] = None  # it is there until it is closed: not twice
            connection.give_up("limit")
            return True
        return False

    def _next_idle(self, connections: dict[ClientConnection, None]) -> ClientConnection | None:
        for connection in list(islice(connections, _MOST_LOOKED_AT)):
            if connection.is_idle:
                return connection
            # Not again at the next one: behind it may stand those that are.
            del connections[connection]
            connections[connection] = None
        return None
