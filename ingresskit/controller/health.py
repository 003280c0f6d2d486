"""Liveness and readiness: may the process go on, and may traffic come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingresskit.controller.statistics import ControllerView, State

__all__ = ["Check", "Health", "HealthReport"]

Check = Callable[[], str]
"""A further condition: what is wrong or missing, as a clause; empty when all is well. Must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The result of a probe.

    Attributes:
        problems: What is wrong or missing, one clause each, in the order of the checks; empty when good.
    """

    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


class Health:
    """The health that a controller reports to probes.

    Args:
        controller: Whose.
        live: Conditions of liveness beside the controller's own: a watch that is silent past its limit.
        ready: Conditions of readiness beside the controller's own: a listener that is not bound yet.
    """

    def __init__(
        self, controller: ControllerView, *, live: Iterable[Check] = (), ready: Iterable[Check] = ()
    ) -> None:
        self._controller = controller
        self._live = tuple(live)
        self._ready = tuple(ready)

    def liveness(self) -> HealthReport:
        """Good while no task is dead and no pass hangs. When it is bad, only a restart helps."""
        statistics = self._controller.statistics()
        problems = [statistics.death] if statistics.state is State.DEAD else []
        running, limit = statistics.pass_running, self._controller.settings.stall_limit
        if running is not None and running > limit:
            problems.append(
                f"the pass under way has been at {statistics.pass_stage} for {running.total_seconds():.0f} s,"
                f" longer than {limit.total_seconds():g} s"
            )
        return _report(problems, self._live)

    def readiness(self) -> HealthReport:
        """Good once the first configuration is live; passes that fail later do not change that.

        Until then it says what is missing. A controller that was stopped or died is not ready.
        """
        statistics = self._controller.statistics()
        problems: list[str] = []
        match statistics.state:
            case State.NEW:
                problems.append("the controller has not started")
            case State.STOPPED:
                problems.append("the controller has stopped")
            case State.DEAD:
                problems.append(statistics.death)
            case State.RUNNING if statistics.revision_seen is None:
                problems.append("the source has not delivered all objects yet")
            case State.RUNNING if statistics.revision_applied is None:
                problems.append("the first configuration is not live yet")
                if statistics.last_failure is not None:
                    problems.append(
                        f"the last attempt failed at {statistics.last_failure.stage}:"
                        f" {statistics.last_failure.message}"
                    )
            case State.RUNNING:
                pass
        return _report(problems, self._ready)


def _report(problems: list[str], checks: tuple[Check, ...]) -> HealthReport:
    return HealthReport(problems=(*problems, *(found for check in checks if (found := check()))))
