"""Waking the watches of a server, from any thread and without waiting for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
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
        self._portal.start_task_soon(self._wake)

    def is_here(self) -> bool:
        """Whether the caller is in the thread of the loop."""
        return threading.get_ident() == self._thread

    def run(self, do: Callable[[], None]) -> None:
        """Call *do* in the loop's thread, and return when it is done."""
        if self.is_here():
            do()
        else:
            self._portal.call(do)

    def _wake(self) -> None:
        with self._lock:
            self._pending = False
        event, self._event = self._event, anyio.Event()
        event.set()
