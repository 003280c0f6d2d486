"""The loop: wait for a change, translate, render, plan, apply, report."""

from ingresskit.controller.events import Event, EventKind, Subscription
from ingresskit.controller.health import Check, Health, HealthReport
from ingresskit.controller.loop import Controller
from ingresskit.controller.outcome import Outcome, reconcile
from ingresskit.controller.reporter import StatusReporter
from ingresskit.controller.settings import ControllerSettings
from ingresskit.controller.statistics import (
    ApplyKind,
    ControllerStatistics,
    ControllerView,
    Failure,
    LastApply,
    Stage,
    State,
)

__all__ = [
    "ApplyKind",
    "Check",
    "Controller",
    "ControllerSettings",
    "ControllerStatistics",
    "ControllerView",
    "Event",
    "EventKind",
    "Failure",
    "Health",
    "HealthReport",
    "LastApply",
    "Outcome",
    "Stage",
    "State",
    "StatusReporter",
    "Subscription",
    "reconcile",
]
