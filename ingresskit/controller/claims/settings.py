"""What an integrator decides about writing the record of host claims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError

__all__ = ["HostClaimSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClaimSettings:
    """How often the record of host claims is written.

    Attributes:
        quiet: How long after a change it is written, so that what came together is written together.
        interval: The least time between the beginnings of two batches.
        look_again: How long nothing happens before the ConfigMaps are compared all the same.
        request_timeout: For one request.
        retry_first: The wait after a request that failed; doubles with each further one.
        retry_ceiling: The longest such wait; at least twice *retry_first*.

    Raises:
        ConfigurationError: A time is not positive, or *retry_ceiling* is too short.
    """

    quiet: timedelta = timedelta(milliseconds=200)
    interval: timedelta = timedelta(seconds=2)
    look_again: timedelta = timedelta(minutes=1)
    request_timeout: timedelta = timedelta(seconds=10)
    retry_first: timedelta = timedelta(seconds=1)
    retry_ceiling: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.retry_ceiling < 2 * self.retry_first:
            raise ConfigurationError(
                f"retry_ceiling ({self.retry_ceiling}) must be twice retry_first ({self.retry_first})"
            )
