"""The events of one watch on their way through the faults."""

from __future__ import annotations

from enum import Enum

from ingresskit.testing.apiserver.faults import (
    ActiveFault,
    CloseWatch,
    DropEvents,
    Faults,
    HalfOpen,
    ReorderEvents,
    RepeatEvents,
    SendLines,
)
from ingresskit.testing.apiserver.log import RequestRecord
from ingresskit.testing.apiserver.watch import WatchEvent

__all__ = ["Ending", "FaultyStream"]


class Ending(Enum):
    """How a stream goes on."""

    NOT_YET = "it goes on"
    CLOSE = "it ends in good order"
    SILENT = "nothing is sent any more"


class FaultyStream:
    """What becomes of the events of one watch."""

    def __init__(self, faults: Faults, record: RequestRecord) -> None:
        self._faults = faults
        self._record = record
        # Events sent since a fault was first met, by fault: each counts from when it came.
        self._sent: dict[ActiveFault, int] = {}
        self._done: set[ActiveFault] = set()
        self._held: dict[ActiveFault, list[WatchEvent]] = {}

    def after(self, events: list[WatchEvent], age: float) -> tuple[list[bytes], Ending]:
        """The lines to send for *events*, in a watch that is *age* seconds old, and how it goes on."""
        active = self._faults.for_stream(self._record)
        lines: list[bytes] = []
        ending = self._check(active, lines, age)
        for event in events:
            if ending is not Ending.NOT_YET:
                break
            for changed in self._altered(event, active):
                lines.append(changed.line)
                for fault in active:
                    self._sent[fault] = self._sent.get(fault, 0) + 1
                ending = self._check(active, lines, age)
                if ending is not Ending.NOT_YET:
                    break
        return lines, ending

    def next_check(self) -> float | None:
        """The age at which the watch is to be ended, or ``None``."""
        ages = [
            active.fault.action.after_seconds
            for active in self._faults.for_stream(self._record)
            if isinstance(active.fault.action, CloseWatch) and active.fault.action.after_seconds is not None
        ]
        return min(ages, default=None)

    def _check(self, active: list[ActiveFault], lines: list[bytes], age: float) -> Ending:
        for fault in active:
            action, sent = fault.fault.action, self._sent.get(fault, 0)
            match action:
                case HalfOpen() if sent >= action.after_events:
                    return Ending.SILENT
                case CloseWatch() if (action.after_seconds is not None and age >= action.after_seconds) or (
                    action.after_events is not None and sent >= action.after_events
                ):
                    return Ending.CLOSE
                case SendLines() if sent >= action.after_events and fault not in self._done:
                    self._done.add(fault)
                    lines.extend(action.lines)
                    if action.then == "close":
                        return Ending.CLOSE
                case _:
                    pass
        return Ending.NOT_YET

    def _altered(self, event: WatchEvent, active: list[ActiveFault]) -> list[WatchEvent]:
        events = [event]
        change = event.type in ("ADDED", "MODIFIED", "DELETED")
        for fault in active:
            action = fault.fault.action
            if isinstance(action, DropEvents):
                fits = event.type in action.types and (not action.names or event.key[1] in action.names)
                if fits and (action.count is None or fault.events < action.count):
                    fault.events += 1
                    return []
            elif isinstance(action, RepeatEvents) and change:
                events = [item for item in events for _ in range(action.times)]
            elif isinstance(action, ReorderEvents) and change:
                held = self._held.setdefault(fault, [])
                held.extend(events)
                if len(held) < action.window:
                    return []
                events, self._held[fault] = held[::-1], []
        return events
