"""The listening sockets of worker processes, which their owner opens and keeps.

For each address there is a socket for each worker, and the kernel spreads connections over them (SO_REUSEPORT).
A connection that waits in the queue of a socket is lost when the last descriptor of that socket is closed. So
the owner keeps one of each: the worker that comes next takes what waits.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple

import anyio

__all__ = ["ListeningAddress", "ListeningSockets"]

_BACKLOG: Final = 1024


class ListeningAddress(NamedTuple):
    """Where to listen.

    Attributes:
        host: A numeric address, or a name; empty is every address.
        port: 0 takes a free one.
    """

    host: str
    port: int
    tls: bool


class ListeningSockets:
    """Groups of listening sockets: each group has one for each address, and belongs to one worker at a time.

    Attributes:
        addresses: With the real ports where 0 was asked for; in the order of each group.
        groups: As many as were asked for, or more where they were taken over.
    """

    def __init__(
        self, addresses: Sequence[ListeningAddress], groups: Sequence[Sequence[socket.socket]]
    ) -> None:
        self.addresses: tuple[ListeningAddress, ...] = tuple(addresses)
        self.groups: tuple[tuple[socket.socket, ...], ...] = tuple(map(tuple, groups))

    @classmethod
    async def open(
        cls, addresses: Sequence[ListeningAddress], count: int, *, taken: ListeningSockets | None = None
    ) -> ListeningSockets:
        """*count* groups of sockets.

        Args:
            addresses: Where to listen.
            count: How many groups.
            taken: Those of another owner, which become this one's; groups are added to them, and never closed.
                Where their addresses are others, they are of no use, and are closed.

        Raises:
            OSError: An address cannot be bound to. The attribute ``filename`` says which.
        """
        found = list(addresses)
        groups: list[list[socket.socket]] = [] if taken is None else [list(group) for group in taken.groups]
        if taken is not None and not _serves(taken, addresses):
            taken.close()
            groups = []
        elif taken is not None:
            found = list(taken.addresses)
        if groups:
            for one in (item for group in groups for item in group):
                one.setblocking(False)
        try:
            for index, (host, port, tls) in enumerate([] if groups else found):
                try:
                    first = await _bound(host, port)
                except OSError as exc:
                    exc.filename = index
                    raise
                groups = groups or [[]]
                groups[0].append(first)
                found[index] = ListeningAddress(host, int(first.getsockname()[1]), tls)
            while len(groups) < count:
                group: list[socket.socket] = []
                groups.append(group)
                group.extend(_bind(like.family, like.getsockname(), dual=_is_dual(like)) for like in groups[0])
        except BaseException:
            for one in (item for group in groups for item in group):
                one.close()
            raise
        return cls(found, groups)

    def descriptors(self, group: int) -> list[int]:
        """The descriptors of a group."""
        return [one.fileno() for one in self.groups[group]]

    def close(self) -> None:
        """Close all of them; who has descriptors of its own listens on."""
        for group in self.groups:
            for one in group:
                one.close()


async def _bound(host: str, port: int) -> socket.socket:
    dual = not host and socket.has_dualstack_ipv6()
    if host:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = int(found[0][0]), tuple(found[0][4])
    elif dual:
        family, address = int(socket.AF_INET6), ("::", port, 0, 0)
    else:
        family, address = int(socket.AF_INET), ("", port)
    if port:
        # Without SO_REUSEPORT, which would let a program be started twice on one port without a word.
        with closing(socket.socket(family)) as probe:
            _prepare(probe, dual=dual)
            probe.bind(address)
    return _bind(family, address, dual=dual)


def _bind(family: int, address: tuple[object, ...], *, dual: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        _prepare(bound, dual=dual)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _prepare(bound: socket.socket, *, dual: bool) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)


def _is_dual(bound: socket.socket) -> bool:
    if bound.family != socket.AF_INET6:
        return False
    return not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _serves(taken: ListeningSockets, addresses: Sequence[ListeningAddress]) -> bool:
    """Whether sockets listen where *addresses* say; port 0 is any."""
    if len(taken.addresses) != len(addresses):
        return False
    return all(
        one.host == other.host and one.tls == other.tls and other.port in (0, one.port)
        for one, other in zip(taken.addresses, addresses, strict=True)
    )
