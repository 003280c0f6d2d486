"""What the controller has done so far, in numbers: one immutable value for health, metrics and people."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ingresskit.controller.events import Subscription
from ingresskit.controller.outcome import Outcome
from ingresskit.controller.settings import ControllerSettings
from ingresskit.diagnostics import Diagnostic
from ingresskit.filters import PolicyEffects

__all__ = ["ApplyKind", "ControllerStatistics", "ControllerView", "Failure", "LastApply", "Stage", "State"]


class State(StrEnum):
    """Where in its life a controller is."""

    NEW = "new"
    """`Controller.run` has not been called."""
    RUNNING = "running"
    STOPPED = "stopped"
    """Cancelled by its owner."""
    DEAD = "dead"
    """A task of it failed for good; what was live when it did may still be served."""


class Stage(StrEnum):
    """The steps of a pass, in order."""

    TRANSLATE = "translate"
    RENDER = "render"
    PLAN = "plan"
    APPLY = "apply"


class ApplyKind(StrEnum):
    """What it took to put a pass live."""

    NO_OP = "no-op"
    DYNAMIC = "dynamic"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastApply:
    """The last pass that was put live.

    Attributes:
        reason: What changed or why a reload was needed, for people; may be empty.
        duration: Of the apply alone.
        at: When it was done, in UTC.
        revision: The snapshot revision that is live since.
    """

    kind: ApplyKind
    reason: str
    duration: timedelta
    at: datetime
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A pass that failed.

    Attributes:
        message: The exception's type and text, one line of at most 500 characters.
        at: When, in UTC.
        retry_after: How long the controller waits before it tries again, unless something changes.
    """

    stage: Stage
    message: str
    at: datetime
    revision: int
    retry_after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerStatistics:
    """What a controller has done so far.

    Attributes:
        death: Why it is dead; empty while it is not.
        started_at: When `Controller.run` was called, in UTC.
        revision_seen: The newest snapshot revision a pass was begun for; ``None`` before the first.
        revision_applied: The revision that is live; ``None`` before the first.
        passes: Passes begun.
        passes_duration: The time all finished passes took, without settling and waiting.
        pass_running: How long the pass under way has taken; ``None`` between passes.
        pass_stage: The step it is at; ``None`` between passes.
        applies: By kind, every kind present: passes put live.
        applies_duration: The time all applies took, failed ones too.
        failures: By stage, every stage present: passes that failed there.
        failures_in_row: Passes that failed since one was last put live; 0 is good.
        last_apply: The last pass put live.
        last_failure: The last pass that failed, even if others succeeded since.
        change_durations: Passes put live, by the time since the first of their changes came: a count for each
            of `ingresskit.controller.change_clock.CHANGE_BOUNDS` and one for longer ones; not cumulative.
        change_duration_sum: Of all these times.
        change_waiting: How long the oldest change that is not live has waited; ``None``: all are live.
        event_readers: Open subscriptions.
        events_dropped: Events that slow readers lost.
    """

    state: State = State.NEW
    death: str = ""
    started_at: datetime | None = None
    revision_seen: int | None = None
    revision_applied: int | None = None
    passes: int = 0
    passes_duration: timedelta = timedelta(0)
    pass_running: timedelta | None = None
    pass_stage: Stage | None = None
    applies: Mapping[ApplyKind, int] = field(default_factory=lambda: dict.fromkeys(ApplyKind, 0))
    applies_duration: timedelta = timedelta(0)
    failures: Mapping[Stage, int] = field(default_factory=lambda: dict.fromkeys(Stage, 0))
    failures_in_row: int = 0
    last_apply: LastApply | None = None
    last_failure: Failure | None = None
    change_durations: tuple[int, ...] = ()
    change_duration_sum: timedelta = timedelta(0)
    change_waiting: timedelta | None = None
    event_readers: int = 0
    events_dropped: int = 0


class ControllerView(Protocol):
    """What health, metrics and the admin server read of a controller; every `Controller` is one."""

    @property
    def renderer_name(self) -> str:
        """The name of its renderer."""
        ...

    @property
    def effects(self) -> PolicyEffects:
        """What policies do in its renderer."""
        ...

    @property
    def settings(self) -> ControllerSettings:
        """How it was set up."""
        ...

    @property
    def outcome(self) -> Outcome[object] | None:
        """What is live; ``None`` until something is."""
        ...

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong now, by the newest snapshot that could be translated; sorted."""
        ...

    def statistics(self) -> ControllerStatistics:
        """What it has done so far."""
        ...

    def object_counts(self) -> Mapping[str, int]:
        """By kind, how many objects it knows; sorted by kind; empty before the first snapshot."""
        ...

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Its events from now on."""
        ...
