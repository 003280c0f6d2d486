"""The books of one controller: counts and times, written by the loop, read as one immutable value."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ingresskit.controller.change_clock import ChangeClock
from ingresskit.controller.redact import redacted
from ingresskit.controller.statistics import ApplyKind, ControllerStatistics, Failure, LastApply, Stage, State

__all__ = ["Ledger", "error_line"]

_LONGEST_MESSAGE = 500


class _Attempt(Protocol):
    """A pass, as far as the books care."""

    @property
    def revision(self) -> int: ...
    @property
    def stage(self) -> Stage: ...


class Ledger:
    """Counts what the loop does, and what it has yet to do. Only the event loop writes; `statistics` copies."""

    def __init__(self) -> None:
        self._state = State.NEW
        self._death = ""
        self._started_at: datetime | None = None
        self._attempt: _Attempt | None = None
        self._begun = 0.0
        self._seen: int | None = None
        self._passes = 0
        self._passes_duration = timedelta(0)
        self._applies = dict.fromkeys(ApplyKind, 0)
        self._applies_duration = timedelta(0)
        self._failures = dict.fromkeys(Stage, 0)
        self._in_row = 0
        self._last_apply: LastApply | None = None
        self._last_failure: Failure | None = None
        self._changes = ChangeClock()

    @property
    def state(self) -> State:
        """Where in its life the controller is."""
        return self._state

    @property
    def failures_in_row(self) -> int:
        """Failures since a pass was last put live."""
        return self._in_row

    @property
    def failing(self) -> Failure | None:
        """The last failure, if nothing was put live since."""
        return self._last_failure if self._in_row else None

    def start(self) -> None:
        """The loop begins."""
        self._state = State.RUNNING
        self._started_at = datetime.now(UTC)

    def die(self, task: str, error: Exception) -> None:
        """A task failed for good."""
        self._state = State.DEAD
        self._death = f"the {task} died: {error_line(error)}"

    def end(self) -> None:
        """The loop is over, one way or the other."""
        self._attempt = None
        if self._state is not State.DEAD:
            self._state = State.STOPPED

    def see(self, revision: int) -> None:
        """The source has a snapshot with that revision."""
        self._changes.see(revision)

    def begin(self, attempt: _Attempt) -> None:
        """A pass begins."""
        self._attempt = attempt
        self._begun = time.monotonic()
        self._seen = attempt.revision
        self._changes.begin(attempt.revision)
        self._passes += 1

    def succeed(self, attempt: _Attempt, kind: ApplyKind, reason: str, duration: timedelta) -> LastApply:
        """The pass under way went live after an apply of *duration*."""
        self._finish(duration)
        self._applies[kind] += 1
        self._changes.live()
        self._in_row = 0
        self._last_apply = LastApply(
            kind=kind, reason=reason, duration=duration, at=datetime.now(UTC), revision=attempt.revision
        )
        return self._last_apply

    def fail(
        self, attempt: _Attempt, error: Exception | None, retry_after: timedelta, duration: timedelta
    ) -> Failure:
        """The pass under way failed; *duration* is what its apply took, if it came that far."""
        self._finish(duration)
        self._failures[attempt.stage] += 1
        self._in_row += 1
        self._last_failure = Failure(
            stage=attempt.stage,
            message="" if error is None else error_line(error),
            at=datetime.now(UTC),
            revision=attempt.revision,
            retry_after=retry_after,
        )
        return self._last_failure

    def postpone(self, duration: timedelta) -> None:
        """The pass under way is to be tried again, though no object is at fault."""
        self._finish(duration)

    def _finish(self, apply_duration: timedelta) -> None:
        self._passes_duration += timedelta(seconds=time.monotonic() - self._begun)
        self._applies_duration += apply_duration
        self._attempt = None

    def statistics(self, *, readers: int, dropped: int) -> ControllerStatistics:
        """Everything, as of now."""
        attempt = self._attempt
        return ControllerStatistics(
            state=self._state,
            death=self._death,
            started_at=self._started_at,
            revision_seen=self._seen,
            revision_applied=None if self._last_apply is None else self._last_apply.revision,
            passes=self._passes,
            passes_duration=self._passes_duration,
            pass_running=None if attempt is None else timedelta(seconds=time.monotonic() - self._begun),
            pass_stage=None if attempt is None else attempt.stage,
            applies=dict(self._applies),
            applies_duration=self._applies_duration,
            failures=dict(self._failures),
            failures_in_row=self._in_row,
            last_apply=self._last_apply,
            last_failure=self._last_failure,
            change_durations=self._changes.durations,
            change_duration_sum=self._changes.total,
            change_waiting=self._changes.waiting,
            event_readers=readers,
            events_dropped=dropped,
        )


def error_line(error: BaseException) -> str:
    """An exception as one line without key material, at most 500 characters: ``"ApplyError: …"``."""
    text = " ".join(redacted(str(error)).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
