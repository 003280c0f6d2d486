"""The times a leader election goes by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError

__all__ = ["LeaderSettings"]

# What one pause between two attempts may have on top, in parts of the retry period.
JITTER = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderSettings:
    """How long leadership lasts without a word, and how often a word is sent.

    Attributes:
        lease_duration: How long the others wait after the last change of the Lease that they saw. Written
            into the Lease in whole seconds, rounded up; others go by what stands there.
        renew_deadline: A leader that could not renew for this long, counted from the moment it *began* the
            last renewal that was confirmed, has stopped. What is between this and *lease_duration* is what
            its work has to wind up, and what clocks may differ in speed.
        retry_period: The least pause between two attempts; up to 1.2 times as much is added at random.
        release_timeout: How long giving the Lease back may take at the end.

    Raises:
        ConfigurationError: A time is not positive, *lease_duration* is not longer than *renew_deadline*, or
            *renew_deadline* has no room for two attempts.

    Source: the times and the jitter of client-go's leader election.
    """

    lease_duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)
    release_timeout: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.renew_deadline <= self.retry_period * (1 + JITTER):
            raise ConfigurationError(
                f"a renew deadline of {self.renew_deadline} leaves no room to try again"
                f" after up to {self.retry_period * (1 + JITTER)}"
            )
        if self.lease_duration <= self.renew_deadline:
            raise ConfigurationError(
                f"a lease of {self.lease_duration} could expire before its holder has stopped,"
                f" which is after {self.renew_deadline}"
            )

    @property
    def lease_seconds(self) -> int:
        """*lease_duration* as it is written: whole seconds."""
        return math.ceil(self.lease_duration.total_seconds())

    @property
    def attempt_timeout(self) -> timedelta:
        """The longest that one request may take: half the deadline, so that a dead connection costs one try."""
        return self.renew_deadline / 2
