"""Events of the controller for its subscribers, as they happen."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Event", "EventKind", "Events", "Subscription"]


class EventKind(StrEnum):
    """What an event is about."""

    GRAPH = "graph"
    """What should be served changed."""
    DIAGNOSTICS = "diagnostics"
    """A diagnostic appeared or went."""
    APPLY = "apply"
    """A pass was put live, or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        revision: The snapshot revision it happened for.
        at: When, in UTC.
        facts: JSON values with camel-case names; depend on *kind*. Small: counts and reasons, never
            whole graphs.
    """

    kind: EventKind
    revision: int
    at: datetime
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


class Subscription:
    """The events from one moment on, for one reader. An async iterator that ends with the controller.

    A reader that falls behind loses the oldest events it has not read; `take_dropped` says how many.
    """

    def __init__(self, capacity: int) -> None:
        self._waiting: deque[Event] = deque(maxlen=capacity)
        self._arrived = anyio.Event()
        self._dropped = 0
        self._closed = False

    def take_dropped(self) -> int:
        """How many events were lost since this was last asked."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event, waiting for it; ends once the controller has and all was read."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    def _offer(self, event: Event) -> bool:
        full = len(self._waiting) == self._waiting.maxlen
        self._dropped += full
        self._waiting.append(event)
        self._arrived.set()
        return not full

    def _close(self) -> None:
        self._closed = True
        self._arrived.set()


class Events:
    """Hands each event to all subscriptions. Never waits for a reader."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._subscriptions: set[Subscription] = set()
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many events were lost to slow readers, over all of them."""
        return self._dropped

    @property
    def readers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    @contextmanager
    def subscribe(self) -> Generator[Subscription]:
        """A subscription for as long as the context is open."""
        subscription = Subscription(self._capacity)
        if self._closed:
            subscription._close()  # noqa: SLF001 - the two classes are one mechanism
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, event: Event) -> None:
        """Hand *event* to all current readers."""
        for subscription in self._subscriptions:
            self._dropped += not subscription._offer(event)  # noqa: SLF001 - as above

    def close(self) -> None:
        """Let every reader finish what is waiting and then end."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription._close()  # noqa: SLF001 - as above
