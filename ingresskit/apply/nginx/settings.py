"""How an nginx program is found, started and reloaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.apply.process import ProcessSettings

__all__ = ["NginxProcessSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxProcessSettings:
    """Settings of an `Nginx` that are not in its configuration.

    Attributes:
        program: Its path, or a name that is looked up.
        restart: How it is started again when it ends.
        reload_timeout: How long a new configuration may take to become live.
        reload_gap: From one reload to the next in the long run, or five times what the last one took if that
            is longer; zero: no gap. Two reloads may come at once, the start is none, and changes that
            wait are put together. Source: a reload of 10,000 hosts
            takes 2.5 s, and its old workers as much memory as the new ones.
        most_old_workers: While so many workers of older configurations still finish what they have, no
            reload is made.
        keep: Configurations kept on disk.

    Raises:
        ConfigurationError: A time or a count cannot be.
    """

    program: str = "nginx"
    restart: ProcessSettings = field(default_factory=ProcessSettings)
    reload_timeout: timedelta = timedelta(seconds=30)
    reload_gap: timedelta = timedelta(seconds=10)
    most_old_workers: int = 32
    keep: int = 3

    def __post_init__(self) -> None:
        check_settings(self, {"reload_gap": timedelta(0)})
