"""One pass: translate, render, plan, apply; and when it is refused, once more without what is at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Generic

import anyio
import anyio.to_thread

from ingresskit.apply import Applier, CheckingApplier, Plan
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.controller.isolation import GraphRefusal, isolate
from ingresskit.controller.ledger import error_line
from ingresskit.controller.outcome import Outcome, Restriction, restrict
from ingresskit.controller.quarantine import Quarantine
from ingresskit.controller.report import graph_facts
from ingresskit.controller.settings import ControllerSettings
from ingresskit.controller.statistics import Stage
from ingresskit.diagnostics import Diagnostic, sorted_diagnostics
from ingresskit.errors import ApplyError, CheckFailed
from ingresskit.facts import fact_logger
from ingresskit.graph import RouteGraph
from ingresskit.models import ObjectKey, ObjectRef, Snapshot
from ingresskit.render.base import ArtifactT, Renderer
from ingresskit.translate import TranslateOptions, Translator

__all__ = ["Attempt", "Passes"]

_logger = fact_logger(__name__)


@dataclass(slots=True)
class Attempt(Generic[ArtifactT]):
    """How far one pass came. Written by the worker thread, then by the loop.

    Attributes:
        served: What was live when it began.
        error: Why it failed, or was postponed; ``None`` when it is live.
        due: When a host that is held without a claim is released; ``None``: none is.
    """

    snapshot: Snapshot
    served: RouteGraph | None = None
    stage: Stage = Stage.TRANSLATE
    restriction: Restriction | None = None
    diagnostics: tuple[Diagnostic, ...] | None = None
    outcome: Outcome[ArtifactT] | None = None
    changes: Mapping[str, object] | None = None
    plan: Plan[ArtifactT] | None = None
    error: Exception | None = None
    apply_duration: timedelta = timedelta(0)
    due: datetime | None = None

    @property
    def revision(self) -> int:
        """Of its snapshot."""
        return self.snapshot.revision


class Passes(Generic[ArtifactT]):
    """Makes passes, one at a time.

    What only computes runs in a worker thread, one call at a time; applying on the event loop.
    """

    def __init__(
        self,
        *,
        renderer: Renderer[ArtifactT],
        applier: Applier[ArtifactT],
        options: TranslateOptions | None,
        settings: ControllerSettings,
        claims: ClaimKeeper,
    ) -> None:
        self._renderer = renderer
        self._applier = applier
        self._options = options
        self._settings = settings
        self._translator = Translator(options)
        self._claims = claims
        self._quarantine = Quarantine()
        self._limiter = anyio.CapacityLimiter(1)
        # What the applier is known to serve; None after an apply whose end nobody knows: then the next
        # plan assumes nothing.
        self._served: ArtifactT | None = None

    async def run(
        self, attempt: Attempt[ArtifactT], report: Callable[[tuple[Diagnostic, ...], int], None]
    ) -> None:
        """Make the pass that *attempt* begins, and write into it how far it came.

        Args:
            attempt: The snapshot, and what is live.
            report: Told what is wrong with the objects, before anything is put live.
        """
        await self._in_thread(self._prepare, attempt)
        await self._put_live(attempt, report)
        if (fault := _fault(attempt)) is not None and await self._isolate(attempt, fault):
            await self._in_thread(self._render, attempt)
            await self._put_live(attempt, report)
        if attempt.error is None and attempt.outcome is not None:
            self._served = attempt.outcome.artifact

    async def _in_thread(self, step: Callable[[Attempt[ArtifactT]], None], attempt: Attempt[ArtifactT]) -> None:
        await anyio.to_thread.run_sync(partial(step, attempt), limiter=self._limiter, abandon_on_cancel=True)

    def _prepare(self, attempt: Attempt[ArtifactT]) -> None:
        """Everything that only computes. Runs in a worker thread and never raises."""
        try:
            attempt.stage = Stage.TRANSLATE
            snapshot = self._claims.add_to(attempt.snapshot)
            translation = self._translator.translate(snapshot, now=datetime.now(UTC))
            self._claims.learn(translation.claims)
            attempt.due = translation.due
            attempt.stage = Stage.RENDER
            attempt.restriction = restrict(translation, self._renderer)
        except Exception as exc:  # noqa: BLE001 - an integrator's code; reported by `_fail`
            attempt.error = exc
            if attempt.stage is Stage.TRANSLATE:
                # What it remembers may be half of something.
                self._translator = Translator(self._options)
        else:
            self._render(attempt)

    def _render(self, attempt: Attempt[ArtifactT]) -> None:
        """From a restricted graph to a plan. Runs in a worker thread and never raises."""
        restriction = attempt.restriction
        if restriction is None:
            return
        try:
            attempt.error = attempt.plan = None
            attempt.stage = Stage.RENDER
            graph, refused = self._quarantine.reduce(restriction.graph, attempt.served)
            attempt.diagnostics = restriction.diagnostics
            if refused:
                attempt.diagnostics = sorted_diagnostics((*restriction.diagnostics, *refused))
            artifact = self._renderer.render(graph)
            attempt.outcome = Outcome(
                revision=attempt.revision,
                graph=graph,
                diagnostics=attempt.diagnostics,
                claims=restriction.claims,
                artifact=artifact,
            )
            attempt.changes = graph_facts(attempt.served, graph)
            attempt.stage = Stage.PLAN
            attempt.plan = self._applier.plan(self._served, artifact)
        except Exception as exc:  # noqa: BLE001 - an integrator's code; reported by `_fail`
            attempt.error = exc

    async def _put_live(
        self, attempt: Attempt[ArtifactT], report: Callable[[tuple[Diagnostic, ...], int], None]
    ) -> None:
        if attempt.diagnostics is not None:
            report(attempt.diagnostics, attempt.revision)
        if attempt.plan is not None:
            await self._apply(attempt, attempt.plan)

    async def _isolate(self, attempt: Attempt[ArtifactT], fault: GraphRefusal) -> bool:
        """Find the objects that were refused, and keep them back; false when none can be found."""
        if attempt.restriction is None:
            return False
        graph = self._quarantine.reduce(attempt.restriction.graph, attempt.served)[0]
        facts = {"revision": attempt.revision, "reason": fault.saying}
        _logger.warning("configuration refused, looking for the objects at fault", extra=facts)
        try:
            with anyio.fail_after(self._settings.apply_timeout.total_seconds()):
                found = await isolate(graph, attempt.served, fault, self._probe)
        except Exception as exc:  # noqa: BLE001 - as any failure of an apply
            _logger.warning("search given up", extra={**facts, "error": error_line(exc)})
            return False
        self._quarantine.add(attempt.restriction.graph, found)
        return bool(found)

    async def _probe(self, graph: RouteGraph) -> GraphRefusal | None:
        try:
            render = partial(self._renderer.render, graph)
            artifact = await anyio.to_thread.run_sync(render, limiter=self._limiter, abandon_on_cancel=True)
        except Exception as exc:  # noqa: BLE001 - what is looked for
            return GraphRefusal(saying=error_line(exc))
        if isinstance(self._applier, CheckingApplier):
            try:
                await self._applier.check(artifact)
            except CheckFailed as exc:
                return _check_fault(exc)
        return None

    async def _apply(self, attempt: Attempt[ArtifactT], plan: Plan[ArtifactT]) -> None:
        attempt.stage = Stage.APPLY
        begun = anyio.current_time()
        limit = self._settings.apply_timeout.total_seconds()
        try:
            with anyio.move_on_after(limit) as scope:
                await self._applier.apply(plan)
            if scope.cancelled_caught:
                attempt.error = ApplyError(f"the applier did not finish within {limit:g} s")
                self._served = None
        except ApplyError as exc:
            attempt.error = exc  # by contract what was served still is
        except Exception as exc:  # noqa: BLE001 - an integrator's code; reported by `_fail`
            attempt.error = exc
            self._served = None
        attempt.apply_duration += timedelta(seconds=anyio.current_time() - begun)


def _fault(attempt: Attempt[ArtifactT]) -> GraphRefusal | None:
    """Why a pass failed, if leaving objects out may help."""
    error = attempt.error
    if isinstance(error, CheckFailed):
        return _check_fault(error)
    if error is not None and attempt.stage is Stage.RENDER and attempt.restriction is not None:
        return GraphRefusal(saying=error_line(error))
    return None


def _check_fault(error: CheckFailed) -> GraphRefusal:
    subjects = frozenset(ObjectRef(kind, ObjectKey(*key)) for kind, key in error.subjects)
    return GraphRefusal(saying=str(error), subjects=subjects)
