"""How a delegate is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.apply.process import ProcessSettings

__all__ = ["DelegateOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateOptions:
    """How a delegate is run.

    Attributes:
        push_timeout: How long a change of other routes waits for a delegate that does not acknowledge.
        settle: How long routes that the delegate no longer has are kept for requests that are on their way.
        linger: How long the delegate is kept after its last route is gone.
        statistics_interval: The time between two readings of its counts.
        process: How it is started again when it ends.

    Raises:
        ConfigurationError: A time is not positive.
    """

    push_timeout: timedelta = timedelta(seconds=10)
    settle: timedelta = timedelta(seconds=10)
    linger: timedelta = timedelta(minutes=5)
    statistics_interval: timedelta = timedelta(seconds=1)
    process: ProcessSettings = field(default_factory=ProcessSettings)

    def __post_init__(self) -> None:
        check_settings(self)
