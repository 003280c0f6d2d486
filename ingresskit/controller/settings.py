"""What an integrator decides about the loop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError

__all__ = ["ControllerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """How changes are batched, how failures are tried again, and how long a step may take.

    Attributes:
        settle_quiet: A pass begins once nothing has changed for this long; 0 batches nothing.
        settle_ceiling: A pass begins this long after the first change at the latest, however many
            follow; at least *settle_quiet*.
        retry_first: The wait before a failed pass is tried again. Doubles with each failure in a row.
            A change of the objects ends the wait.
        retry_ceiling: The longest such wait; at least *retry_first*.
        apply_timeout: An applier that takes longer is cancelled, which counts as a failure.
        stall_limit: A pass that takes longer makes the controller unhealthy. A renderer runs in a
            thread, which cannot be ended from outside: only a restart of the process helps.
        event_buffer: How many events are kept for a subscriber that does not read, 1 or more.

    Raises:
        ConfigurationError: A time is negative, a ceiling lies below what it limits, a time that must
            be positive is 0, or the buffer is empty.

    Source: the quiet period is what the parts of one change lie apart, and the ceiling half a second, so
    that one change is live at once and a storm of changes costs two passes a second.
    """

    settle_quiet: timedelta = timedelta(milliseconds=20)
    settle_ceiling: timedelta = timedelta(milliseconds=500)
    retry_first: timedelta = timedelta(milliseconds=500)
    retry_ceiling: timedelta = timedelta(seconds=30)
    apply_timeout: timedelta = timedelta(seconds=60)
    stall_limit: timedelta = timedelta(seconds=120)
    event_buffer: int = 64

    def __post_init__(self) -> None:
        check_settings(self, {"settle_quiet": timedelta(0), "settle_ceiling": timedelta(0)})
        if self.settle_ceiling < self.settle_quiet:
            raise ConfigurationError(
                f"settle_ceiling ({self.settle_ceiling}) is below settle_quiet ({self.settle_quiet})"
            )
        if self.retry_ceiling < self.retry_first:
            raise ConfigurationError(
                f"retry_ceiling ({self.retry_ceiling}) is below retry_first ({self.retry_first})"
            )
