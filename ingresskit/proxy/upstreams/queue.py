"""Requests that wait until an endpoint of their backend may take another one, the first one first."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingresskit.proxy.endpoints import EndpointState

__all__ = ["Queue", "Waiting"]


class Waiting(Protocol):
    """A request that waits."""

    def called(self) -> bool:
        """An endpoint may have become free: whether the request left the queue for it."""
        ...


class Queue:
    """The queue of one backend.

    Args:
        room: How many may wait.
        timeout: How long each may, in seconds.
    """

    __slots__ = ("_endpoints", "_room", "_waiting", "timeout")

    def __init__(self, room: int, timeout: float) -> None:
        self._room = room
        self._waiting: deque[Waiting] = deque()
        self._endpoints: tuple[EndpointState, ...] = ()
        self.timeout: float = timeout

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, request: Waiting) -> bool:
        """Let *request* wait behind all others, if there is room."""
        if len(self._waiting) >= self._room:
            return False
        self._waiting.append(request)
        return True

    def leave(self, request: Waiting) -> None:
        """*request* waits no longer; nothing happens if it did not."""
        if request in self._waiting:
            self._waiting.remove(request)

    def watch(self, endpoints: Iterable[EndpointState]) -> None:
        """Wait for these endpoints from now on."""
        before, self._endpoints = self._endpoints, tuple(endpoints)
        for endpoint in before:
            endpoint.queues.remove(self)
        for endpoint in self._endpoints:
            endpoint.queues.append(self)
        self.freed()

    def freed(self) -> None:
        """An endpoint may take another request: soon the first that waits is called."""
        if self._waiting:
            # Not at once: the caller is in the midst of ending another request.
            asyncio.get_running_loop().call_soon(self._call)

    def _call(self) -> None:
        while self._waiting and self._waiting[0].called():
            pass
