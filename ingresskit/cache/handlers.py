"""Telling handlers, each at its own pace.

A handler has a buffer and a task of its own. The buffer holds, for each key, what the handler was told
last and what is true now; so it never holds more than one entry a key, a handler that is slow sees fewer
steps and never a wrong one, and one that never returns harms nobody else.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, NoReturn, TypeVar

import anyio
import anyio.lowlevel

from ingresskit.cache.store import Change, DeletedFinalStateUnknown
from ingresskit.facts import fact_logger
from ingresskit.models import KubeObject, ObjectKey

__all__ = ["EventHandler", "Registration"]

_logger = fact_logger(__name__)

K = TypeVar("K", bound=KubeObject)


# Without slots: Python 3.11 cannot make `EventHandler[Service](…)` of a dataclass both frozen and slotted.
@dataclass(frozen=True, kw_only=True)
class EventHandler(Generic[K]):
    """What to call when objects come, change and go. Functions may be plain or asynchronous.

    Attributes:
        on_add: The object is new to this handler.
        on_update: It was told of the first and now it is the second. Steps between may have been left out.
        on_delete: The object, as it ended, or `DeletedFinalStateUnknown`.
        predicate: Only objects for which this is true exist for the handler; one that comes to pass it is
            added, one that ceases to is deleted. Must be pure. While it raises, it counts as true.
        resync: Every so often `on_update` is called for all objects, with the same one twice; zero for never.
        name: For the log.
    """

    on_add: Callable[[K], Awaitable[None] | None] | None = None
    on_update: Callable[[K, K], Awaitable[None] | None] | None = None
    on_delete: Callable[[K | DeletedFinalStateUnknown[K]], Awaitable[None] | None] | None = None
    predicate: Callable[[K], bool] | None = None
    resync: timedelta = timedelta(0)
    name: str = "handler"


@dataclass(slots=True)
class _Pending(Generic[K]):
    """The change of one key that a handler has not got yet.

    Attributes:
        told: What it was told last; ``None`` if it knows of no such object.
        now: What is there now; ``None`` if nothing is.
        final: How the object it was told of ended, if it has.
        resync: Tell it even if nothing changed.
    """

    told: K | None
    now: K | None
    final: K | DeletedFinalStateUnknown[K] | None
    resync: bool = False


class Registration(Generic[K]):
    """One handler of one informer.

    What it promises: the store has a change before the handler hears of it; calls are made one after the
    other, and for one object in the order of its steps; steps may be left out, the last one never; every
    object the handler was told of and that has gone is told as deleted exactly once; an exception is
    logged and counted, and the next call is made.
    """

    def __init__(self, handler: EventHandler[K], objects: Callable[[], Mapping[ObjectKey, K]]) -> None:
        self._handler = handler
        self._objects = objects
        self._pending: dict[ObjectKey, _Pending[K]] = {}
        self._wake = anyio.Event()
        self._initial: set[ObjectKey] | None = None
        self._synced = anyio.Event()
        self._scope = anyio.CancelScope()
        self._removed = False
        self._calls = 0
        self._errors = 0

    @property
    def has_synced(self) -> bool:
        """Whether the handler got every object that was there at first."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once `has_synced`."""
        await self._synced.wait()

    def remove(self) -> None:
        """Call the handler no more; a call under way is cancelled where it waits. May be called by it."""
        self._removed = True
        self._pending.clear()
        self._scope.cancel()

    @property
    def is_removed(self) -> bool:
        """Whether `remove` was called."""
        return self._removed

    def statistics(self) -> Mapping[str, int]:
        """``calls`` made, ``errors`` raised by them, and keys ``pending``."""
        return {"calls": self._calls, "errors": self._errors, "pending": len(self._pending)}

    # For the informer.

    def replay(self, objects: Iterable[K]) -> None:
        """Give a late handler the objects that were there before it."""
        for item in objects:
            if self._passes(item):
                self._pending[item.key] = _Pending(None, item, None)
        self._wake.set()

    def mark_whole(self) -> None:
        """The store is whole: what is to be told now is where the beginning ends."""
        self._initial = set(self._pending)
        self._note_told()

    def take(self, change: Change[K]) -> None:
        """Remember one change of the store for the handler."""
        old = change.old if change.old is not None and self._passes(change.old) else None
        new = change.new if change.new is not None and self._passes(change.new) else None
        if old is None and new is None:
            return
        final = change.final if change.final is not None else change.new
        pending = self._pending.get(change.key)
        if pending is None:
            self._pending[change.key] = _Pending(old, new, final if new is None else None)
        else:
            if pending.told is not None and pending.final is None and new is None:
                pending.final = final
            elif pending.final is not None and new is not None and pending.told is not None:
                # Back again. The same object (it passes the predicate anew) was never gone for the handler.
                if new.metadata.uid == pending.told.metadata.uid:
                    pending.final = None
            pending.now = new
        self._wake.set()

    async def run(self) -> None:
        """Call the handler with changes, until cancelled or removed."""
        with self._scope:
            if self._handler.resync > timedelta(0):
                async with anyio.create_task_group() as group:
                    group.start_soon(self._resync)
                    await self._deliver()
            await self._deliver()

    async def _resync(self) -> NoReturn:
        await self._synced.wait()
        while True:
            await anyio.sleep(self._handler.resync.total_seconds())
            for key, item in self._objects().items():
                if self._passes(item):
                    self._pending.setdefault(key, _Pending(item, item, None)).resync = True
            self._wake.set()

    async def _deliver(self) -> NoReturn:
        while True:
            while self._pending:
                key = next(iter(self._pending))
                await self._tell(self._pending.pop(key))
                if self._initial is not None:
                    self._initial.discard(key)
                    self._note_told()
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _tell(self, pending: _Pending[K]) -> None:
        told, now, final = pending.told, pending.now, pending.final
        if told is not None and final is not None:
            await self._call(self._handler.on_delete, final)
            told = None
        if told is None:
            if now is not None:
                await self._call(self._handler.on_add, now)
        elif now is not None and (now is not told or pending.resync):
            await self._call(self._handler.on_update, told, now)

    async def _call(self, function: Callable[..., Awaitable[None] | None] | None, *args: object) -> None:
        if function is None:
            return
        self._calls += 1
        try:
            result = function(*args)
            if inspect.isawaitable(result):
                await result
            elif self._calls % 64 == 0:
                await anyio.lowlevel.checkpoint()
        except Exception:
            self._errors += 1
            _logger.exception("a handler failed, going on", extra={"handler": self._handler.name})

    def _note_told(self) -> None:
        if not self._initial and not self._synced.is_set():
            self._initial = None
            self._synced.set()

    def _passes(self, item: K) -> bool:
        if self._handler.predicate is None:
            return True
        try:
            return self._handler.predicate(item)
        except Exception:
            self._errors += 1
            _logger.exception("a predicate failed, the object passes", extra={"handler": self._handler.name})
            return True
