"""The loop: wait for a change, settle, translate and render in a thread, plan, apply, report.

One of four things happens to each pass:

1. It goes live. Its outcome becomes `Controller.outcome`, and the failures in a row are forgotten. Where the
   renderer or the proxy's checker refused it, the objects at fault are found and kept back, and the rest goes
   live; only if none can be found it is a failure.
2. It is postponed, because the proxy must not be reloaded yet. The loop comes back when it may be.
3. It fails: a renderer, a plan or an apply raised, or the apply took too long. What was live stays,
   and the loop tries again after a wait that grows, or at the next change, whichever is first.
4. It never ends, because a renderer hangs. Python cannot end a thread, and a second pass beside the
   first would run the same renderer twice at once, so the loop waits; `Health` reports the stall,
   which lets whoever watches the process restart it. Everything else, cancellation included, goes on.

A task that dies takes the loop with it: `Controller.run` raises what killed it. There is no state in
which the controller looks alive and watches nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Generic, NoReturn

import anyio

from ingresskit.apply import Applier, Dynamic, NoOp, Plan, Reload
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.controller.events import Event, EventKind, Events, Subscription
from ingresskit.controller.ledger import Ledger, error_line
from ingresskit.controller.outcome import Outcome
from ingresskit.controller.passes import Attempt, Passes
from ingresskit.controller.redact import loggable
from ingresskit.controller.report import DiagnosticsLog
from ingresskit.controller.settings import ControllerSettings
from ingresskit.controller.statistics import ApplyKind, ControllerStatistics, State
from ingresskit.controller.timing import next_turn, retry_delay, settle
from ingresskit.controller.waiting import waiting_diagnostics
from ingresskit.diagnostics import Diagnostic, sorted_diagnostics
from ingresskit.errors import (
    ApplyPostponed,
    ConfigurationError,
    IngressKitError,
    SourceError,
)
from ingresskit.facts import fact_logger
from ingresskit.filters import PolicyEffects
from ingresskit.models import Snapshot
from ingresskit.render.base import ArtifactT, Renderer
from ingresskit.sources import Source
from ingresskit.translate import TranslateOptions

__all__ = ["Controller"]

_logger = fact_logger(__name__)


class Controller(Generic[ArtifactT]):
    """Keeps a proxy serving the objects of a source, until cancelled.

    Building one does no I/O. All methods are for the event loop that `run` runs on.

    Args:
        source: Where objects come from; the controller runs it.
        renderer: Makes the artifact; called in a worker thread, one call at a time.
        applier: Puts artifacts live; its ``plan`` is called in that thread too, its ``apply`` on the
            event loop, never both at once.
        options: How to translate; the defaults when ``None``.
        settings: How to batch and to try again; the defaults when ``None``.
        claims: Remembers which namespace holds which host; ``None``: one that keeps the record in memory,
            so that after a restart the oldest claim on each host decides.
    """

    def __init__(
        self,
        *,
        source: Source,
        renderer: Renderer[ArtifactT],
        applier: Applier[ArtifactT],
        options: TranslateOptions | None = None,
        settings: ControllerSettings | None = None,
        claims: ClaimKeeper | None = None,
    ) -> None:
        self._source = source
        self._renderer_name = renderer.name
        self._effects = renderer.effects
        self._settings = settings or ControllerSettings()
        self._claims = claims or ClaimKeeper()
        self._passes = Passes(
            renderer=renderer,
            applier=applier,
            options=options,
            settings=self._settings,
            claims=self._claims,
        )
        self._due: datetime | None = None
        self._outcome: Outcome[ArtifactT] | None = None
        self._diagnostics = DiagnosticsLog()
        self._events = Events(self._settings.event_buffer)
        self._ledger = Ledger()
        self._applied = anyio.Event()
        self._postponed: timedelta | None = None
        self._waiting: tuple[Diagnostic, ...] = ()
        self._death: Exception | None = None

    @property
    def renderer_name(self) -> str:
        """The name of the renderer."""
        return self._renderer_name

    @property
    def effects(self) -> PolicyEffects:
        """What policies do in the renderer."""
        return self._effects

    @property
    def settings(self) -> ControllerSettings:
        """How it was set up."""
        return self._settings

    @property
    def outcome(self) -> Outcome[ArtifactT] | None:
        """What is live; ``None`` until something is. A pass that fails does not change it."""
        return self._outcome

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong now, by the newest snapshot that could be translated; sorted.

        Newer than `outcome` while passes fail.
        """
        return self._diagnostics.held

    def statistics(self) -> ControllerStatistics:
        """What the controller has done so far."""
        return self._ledger.statistics(readers=self._events.readers, dropped=self._events.dropped)

    def object_counts(self) -> Mapping[str, int]:
        """By kind, how many objects the source knows; sorted by kind; empty before the first snapshot."""
        snapshot = self._source.snapshot()
        objects = (snapshot or Snapshot()).objects
        return dict(sorted((kind.kind, len(items)) for kind, items in objects.items()))

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """The events from now on, for as long as the context is open.

        Example:
            ``with controller.subscribe() as events:`` then ``async for event in events:``.
        """
        return self._events.subscribe()

    async def wait_applied(self, revision: int) -> Outcome[ArtifactT]:
        """What is live, once that was made of the snapshot with *revision* or of a later one.

        Raises:
            IngressKitError: `run` ended before.
        """
        while True:
            if self._outcome is not None and self._outcome.revision >= revision:
                return self._outcome
            if self._ledger.state in (State.STOPPED, State.DEAD):
                raise IngressKitError(f"the controller ended before revision {revision} was live")
            await self._applied.wait()

    async def run(self) -> None:
        """Run the source and the loop until cancelled. Called once.

        What is live when it ends stays so: stopping a proxy is its owner's business.

        Raises:
            ConfigurationError: It was called before.
            SourceError: The source cannot go on, or ended by itself.
            Exception: Whatever else the source raised.
        """
        if self._ledger.state is not State.NEW:
            raise ConfigurationError("a controller runs once; build another one")
        self._ledger.start()
        _logger.info("controller started", extra={"renderer": self.renderer_name})
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._guard, "source", self._run_source, tasks.cancel_scope)
                tasks.start_soon(self._guard, "loop", self._loop, tasks.cancel_scope)
                tasks.start_soon(self._guard, "clock of changes", self._note_changes, tasks.cancel_scope)
        finally:
            self._ledger.end()
            self._events.close()
            self._wake()
        if self._death is not None:
            raise self._death

    async def _guard(
        self, name: str, task: Callable[[], Awaitable[NoReturn]], scope: anyio.CancelScope
    ) -> None:
        """Run *task*; remember what killed it first and end the other one."""
        try:
            await task()
        except Exception as exc:
            facts = {"task": name, "reason": error_line(exc)}
            _logger.error("task died", extra=facts, exc_info=loggable(exc))
            if self._death is None:
                self._death = exc
                self._ledger.die(name, exc)
            scope.cancel()

    async def _run_source(self) -> NoReturn:
        await self._source.run()
        raise SourceError("the source ended by itself; nothing would be seen any more")

    async def _note_changes(self) -> NoReturn:
        """Note when each change comes, also while a pass is under way."""
        revision = 0
        while True:
            await self._source.wait_changed(revision)
            snapshot = self._source.snapshot()
            if snapshot is None or snapshot.revision <= revision:
                # As in `_first_snapshot`.
                await anyio.sleep(0.01)
                continue
            revision = snapshot.revision
            self._ledger.see(revision)

    async def _loop(self) -> NoReturn:
        settings = self._settings
        snapshot = await self._first_snapshot()
        while True:
            await self._pass(snapshot)
            with anyio.move_on_after(self._longest_wait()) as waiting:
                await self._wait_for_work(snapshot.revision)
            newest = self._source.snapshot() or snapshot
            if not waiting.cancelled_caught:
                newest = await settle(self._source, newest, settings.settle_quiet, settings.settle_ceiling)
            snapshot = newest

    async def _wait_for_work(self, revision: int) -> None:
        """Return when there is a newer snapshot, or the record of claims wants a pass."""
        async with anyio.create_task_group() as tasks:

            async def wait_wanted() -> None:
                await self._claims.wait_wanted()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_wanted)
            await self._source.wait_changed(revision)
            tasks.cancel_scope.cancel()

    def _longest_wait(self) -> float | None:
        """In how many seconds a pass is due though nothing changes; ``None``: never."""
        if self._postponed is not None:
            return self._postponed.total_seconds()
        if (failure := self._ledger.failing) is not None:
            return failure.retry_after.total_seconds()
        now = datetime.now(UTC)
        turn = None
        if self._outcome is not None:
            turn = next_turn(self._outcome.graph.certificates.values(), now)
        if self._due is not None:
            turn = self._due if turn is None else min(turn, self._due)
        # The clock of the certificates and that of the event loop may drift apart: look again each day.
        return None if turn is None else min(max((turn - now).total_seconds(), 0), 86_400) + 0.001

    async def _first_snapshot(self) -> Snapshot:
        while (snapshot := self._source.snapshot()) is None:
            await self._source.wait_changed(0)
            # A source that says "changed" and has nothing to show must not cost a busy loop.
            await anyio.sleep(0.01 if self._source.snapshot() is None else 0)
        return snapshot

    async def _pass(self, snapshot: Snapshot) -> None:
        live = self._outcome
        attempt = Attempt[ArtifactT](snapshot, None if live is None else live.graph)
        self._ledger.begin(attempt)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._warn_of_stall, snapshot.revision)
            await self._passes.run(attempt, self._report_diagnostics)
            tasks.cancel_scope.cancel()
        self._due = attempt.due
        self._claims.announce()
        if attempt.error is None and attempt.outcome is not None:
            self._succeed(attempt, attempt.outcome)
        elif isinstance(attempt.error, ApplyPostponed):
            self._postpone(attempt, attempt.error)
        else:
            self._fail(attempt)

    def _succeed(self, attempt: Attempt[ArtifactT], outcome: Outcome[ArtifactT]) -> None:
        plan = attempt.plan
        kind, reason = _described(plan)
        last = self._ledger.succeed(attempt, kind, reason, attempt.apply_duration)
        self._outcome = outcome
        self._postponed = None
        self._report_waiting(attempt, ())
        level = logging.DEBUG if kind is ApplyKind.NO_OP else logging.INFO
        seconds = round(last.duration.total_seconds(), 6)
        facts = {"applyKind": str(kind), "reason": reason, "durationSeconds": seconds}
        _logger.log(level, "configuration live", extra={"revision": outcome.revision, **facts})
        if attempt.changes is not None:
            self._publish(EventKind.GRAPH, outcome.revision, attempt.changes)
        self._publish(EventKind.APPLY, outcome.revision, {"ok": True, **facts})
        self._wake()

    def _postpone(self, attempt: Attempt[ArtifactT], error: ApplyPostponed) -> None:
        self._ledger.postpone(attempt.apply_duration)
        if self._postponed is None:
            facts = {"reason": str(error), "retrySeconds": round(error.retry_after.total_seconds(), 3)}
            _logger.info("configuration waits", extra={"revision": attempt.revision, **facts})
        self._postponed = error.retry_after
        self._report_waiting(attempt, waiting_diagnostics(error))

    def _report_waiting(self, attempt: Attempt[ArtifactT], waiting: tuple[Diagnostic, ...]) -> None:
        """Tell the authors of objects that their change waits, or no longer does."""
        if waiting != self._waiting:
            self._waiting = waiting
            self._report_diagnostics(attempt.diagnostics or (), attempt.revision)

    def _fail(self, attempt: Attempt[ArtifactT]) -> None:
        settings = self._settings
        self._postponed = None
        failures = self._ledger.failures_in_row + 1
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        delay = retry_delay(failures, settings.retry_first, settings.retry_ceiling, jitter)
        failure = self._ledger.fail(attempt, attempt.error, delay, attempt.apply_duration)
        facts: dict[str, object] = {
            "reason": failure.message,
            "stage": str(failure.stage),
            "retrySeconds": round(delay.total_seconds(), 3),
        }
        _logger.error(
            "pass failed, what was live stays",
            extra={"revision": attempt.revision, "failures": failures, **facts},
            exc_info=loggable(attempt.error),
        )
        self._publish(EventKind.APPLY, attempt.revision, {"ok": False, **facts})

    def _report_diagnostics(self, diagnostics: tuple[Diagnostic, ...], revision: int) -> None:
        if (facts := self._diagnostics.update(sorted_diagnostics((*diagnostics, *self._waiting)))) is not None:
            self._publish(EventKind.DIAGNOSTICS, revision, facts)

    async def _warn_of_stall(self, revision: int) -> None:
        limit = self._settings.stall_limit.total_seconds()
        await anyio.sleep(limit)
        _logger.warning("pass takes too long", extra={"revision": revision, "limitSeconds": limit})

    def _publish(self, kind: EventKind, revision: int, facts: Mapping[str, object]) -> None:
        self._events.publish(Event(kind=kind, revision=revision, at=datetime.now(UTC), facts=facts))

    def _wake(self) -> None:
        self._applied.set()
        self._applied = anyio.Event()


def _described(plan: Plan[ArtifactT] | None) -> tuple[ApplyKind, str]:
    match plan:
        case Dynamic():
            return ApplyKind.DYNAMIC, plan.summary
        case Reload():
            return ApplyKind.RELOAD, plan.reason
        case NoOp() | None:
            return ApplyKind.NO_OP, ""
