"""What an operator decides about the process that HAProxy is, as against what it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.apply.haproxy.slots import PoolSettings
from ingresskit.errors import ConfigurationError

__all__ = ["HaproxyOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyOptions:
    """How a HAProxy is run and changed.

    Attributes:
        pools: How many empty backends there are for new ones.
        reload_gap: The least time between two reloads. RuntimeChanges that need no reload never wait.
        reload_share: The largest share of the time that goes into reloads: after one that took long the
            gap is longer. More than 0, at most 1.
        most_old_workers: While so many replaced processes still serve connections, a reload waits. HAProxy
            ends the oldest when there are more than three.
        old_worker_grace: How long a replaced process serves its connections at least, before it is ended
            for a reload that another namespace needs.
        most_removed_certificates: After so many lines were taken out of the list of certificates, HAProxy is
            reloaded in the background, since it keeps about 20 KB of each.
        command_timeout: For one command to a running HAProxy.
        load_timeout: For a start, a check and a reload, each.
        disk_delay: RuntimeChanges at runtime are written to disk this long after the last one, or ten times as
            long as writing took the last time, where that is more.
        watch_interval: How often it is made sure that HAProxy serves what it was given.
        statistics_interval: How often HAProxy's counts are read.

    Raises:
        ConfigurationError: A time or a number is not positive.
    """

    pools: PoolSettings = field(default_factory=PoolSettings)
    reload_gap: timedelta = timedelta(seconds=10)
    reload_share: float = 0.2
    most_old_workers: int = 3
    old_worker_grace: timedelta = timedelta(seconds=30)
    most_removed_certificates: int = 500
    command_timeout: timedelta = timedelta(seconds=5)
    load_timeout: timedelta = timedelta(seconds=30)
    disk_delay: timedelta = timedelta(seconds=1)
    watch_interval: timedelta = timedelta(seconds=5)
    statistics_interval: timedelta = timedelta(seconds=2)

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 < self.reload_share <= 1:
            raise ConfigurationError(f"reload_share must be more than 0 and at most 1, not {self.reload_share}")
