"""Waking the watches of a server, from any thread and without waiting for them.

A writer holds the lock of the store when it notifies, and the loop may be waiting for that lock: so
notifying must never wait for the loop, which everything in `anyio.from_thread` does. An octet through a
pair of sockets does not.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import anyio
import anyio.abc
import anyio.from_thread

__all__ = ["Hub"]


class Hub:
    """The bridge between the threads that write and the loop that sends. Made in the thread of the loop."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal) -> None:
        self._portal = portal
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._pending = False
        self._event = anyio.Event()
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Carry the notifications of other threads into the loop, until cancelled."""
        with self._inside, self._outside:
            task_status.started()
            while True:
                await anyio.wait_readable(self._inside)
                with contextlib.suppress(BlockingIOError):
                    self._inside.recv(4096)
                self._wake()

    def subscribe(self) -> anyio.Event:
        """The event that is set at the next change. Take it before looking, and nothing is missed."""
        return self._event

    def notify(self) -> None:
        """Wake all who subscribed; returns at once. Many calls in a row may wake them once."""
        if self.is_here():
            self._wake()
            return
        with self._lock:
            if self._pending:
                return
            self._pending = True
            # OSError: the server is stopping, and nobody is left to wake.
            with contextlib.suppress(OSError):
                self._outside.send(b"\0")

    def is_here(self) -> bool:
        """Whether the caller is in the thread of the loop."""
        return threading.get_ident() == self._thread

    def call(self, do: Callable[[], None]) -> None:
        """Call *do* in the loop's thread, and return when it is done. Not with the lock of the store."""
        if self.is_here():
            do()
        else:
            self._portal.call(do)

    def _wake(self) -> None:
        with self._lock:
            self._pending = False
        event, self._event = self._event, anyio.Event()
        event.set()
