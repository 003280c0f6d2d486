"""How much memory clients may make the proxy hold, and who goes when it is too much.

What waits for a slow reader, an unfinished head, requests sent ahead, a body kept for another try: each is
bounded for one connection, and thousands of connections are not. So every connection that makes the proxy
hold something is charged for it, and beyond the budget the one that has made no progress for longest goes,
of the client that holds the most. Only what waits is charged: a connection at work costs nothing here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ingresskit.proxy.ports.connections import ClientConnection

__all__ = ["Memory", "connections_for", "memory_limit", "waiting_bytes_for"]

_MOST_CONNECTIONS: Final = 16384
_FEWEST_CONNECTIONS: Final = 128
# Measured: an idle connection takes 2 to 4 KiB, one at work with its connection to an endpoint about 10.
_BYTES_PER_CONNECTION: Final = 16384
_WAITING_BYTES: Final = 64 << 20
# A container without a limit has a number here that no machine has memory for.
_NO_LIMIT: Final = 1 << 60


class Memory:
    """What clients make the proxy hold, by client.

    Attributes:
        held: Bytes, of all clients.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        """Allow *most* bytes, and *most_per_client* of one client address."""
        self._most = most
        self._most_per_client = most_per_client
        self.held: int = 0
        # Of each client its connections, those first that have made no progress for longest.
        self._shares: dict[Hashable, dict[ClientConnection, int]] = {}
        self._sums: dict[Hashable, int] = {}

    @property
    def is_scarce(self) -> bool:
        """Whether more than half of the budget is used up: keep nothing that is not needed."""
        return self.held * 2 > self._most

    def charge(self, connection: ClientConnection, owner: Hashable, size: int, *, bounded: bool) -> None:
        """From now on *connection* makes the proxy hold *size* bytes.

        Connections that have to go for it are given up before this returns, *connection* among them perhaps.

        Args:
            connection: Whose octets they are.
            owner: Its client.
            size: All it holds; 0 forgets it.
            bounded: Whether the bound for one client is meant for this one, or it is a proxy in front of many.
        """
        share = self._shares.get(owner)
        if share is None:
            if not size:
                return
            share = self._shares[owner] = {}
        change = size - share.get(connection, 0)
        self.held += change
        self._sums[owner] = self._sums.get(owner, 0) + change
        if size:
            share[connection] = size
        else:
            share.pop(connection, None)
            if not share:
                del self._shares[owner], self._sums[owner]
        if change <= 0:
            return
        while bounded and self._sums.get(owner, 0) > self._most_per_client:
            self._give_up_one(owner)
        while self.held > self._most:
            self._give_up_one(max(self._sums, key=self._sums.__getitem__))

    def _give_up_one(self, owner: Hashable) -> None:
        connection = next(iter(self._shares[owner]))
        self.charge(connection, owner, 0, bounded=False)
        connection.give_up("memory")


def memory_limit(root: Path = Path("/")) -> int | None:
    """The memory that the control group of this process may use, in bytes; ``None`` without a limit.

    Args:
        root: Where ``proc`` and ``sys`` are.

    Source: cgroups(7); the kernel's cgroup-v2.rst, "Memory Interface Files": the limit of each group above
    counts too.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    limits: list[int] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the group that is named may lie outside of what is mounted: its top is the container's.
        steps = [step for step in group.split("/") if step not in ("", "..")]
        for depth in range(len(steps) + 1):
            limits += _read_limit(base.joinpath(*steps[:depth], name))
    return min(limits, default=None)


def connections_for(limit: int | None) -> int:
    """How many client connections to allow with *limit* bytes of memory, a quarter of which is theirs."""
    if limit is None:
        return _MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, limit // 4 // _BYTES_PER_CONNECTION))


def waiting_bytes_for(limit: int | None) -> int:
    """How much a program with *limit* bytes of memory may hold for its clients: an eighth."""
    return _WAITING_BYTES if limit is None else max(1 << 20, min(_WAITING_BYTES, limit // 8))


def _read_limit(path: Path) -> list[int]:
    try:
        limit = int(path.read_text("utf-8"))
    except (OSError, ValueError):  # there is none, or it is "max"
        return []
    return [limit] if 0 < limit < _NO_LIMIT else []
