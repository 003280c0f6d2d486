"""How worker processes are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ingresskit._checks import check_settings
from ingresskit.apply.process import ProcessSettings
from ingresskit.errors import ConfigurationError
from ingresskit.render.workers import SEATS

__all__ = ["WorkerOptions"]

_MOST_WORKERS: Final = SEATS // 2  # each may have a successor while it drains


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How workers are run.

    Attributes:
        count: How many; at most 64.
        start_timeout: For a worker to start and to load its first table.
        push_timeout: For a worker to acknowledge a change. One that does not is replaced.
        response_timeout: For all else that is asked of one; the same then.
        statistics_interval: The time between two readings of its counts.
        drain_grace: How long requests under way may take when a worker is renewed, or its owner is gone.
        linger: How long an idle connection of a worker that drains may bring one more request.
        process: How it is started again when it ends.

    Raises:
        ConfigurationError: A number or a time is out of range.
    """

    count: int = 2
    start_timeout: timedelta = timedelta(seconds=60)
    push_timeout: timedelta = timedelta(seconds=10)
    response_timeout: timedelta = timedelta(seconds=10)
    statistics_interval: timedelta = timedelta(seconds=1)
    drain_grace: timedelta = timedelta(seconds=30)
    linger: timedelta = timedelta(seconds=1)
    process: ProcessSettings = field(default_factory=ProcessSettings)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.count > _MOST_WORKERS:
            raise ConfigurationError(f"count must be at most {_MOST_WORKERS}, not {self.count}")
