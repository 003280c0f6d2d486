"""Checks of settings: which numbers and times are refused, and what the message says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Settings:
    timeout: timedelta = timedelta(seconds=1)
    pause: timedelta | None = None
    limit: int = 1
    rate: float = 0.5
    http_port: int = 80
    https_port: int | None = None
    workers: int = 1
    flag: bool = False
    name: str = ""


def test_what_can_work_passes() -> None:
    check_settings(Settings())
    check_settings(Settings(pause=timedelta(microseconds=1), rate=1e-9, http_port=65535, https_port=1))
    check_settings(Settings(workers=0, timeout=timedelta(0)), {"workers": 0, "timeout": timedelta(0)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(timeout=timedelta(0)), "timeout must be more than zero, not 0:00:00"),
        (Settings(pause=timedelta(seconds=-1)), "pause must be more than zero, not -1 day, 23:59:59"),
        (Settings(limit=0), "limit must be at least 1, not 0"),
        (Settings(rate=0.0), r"rate must be more than zero, not 0\.0"),
        (Settings(http_port=0), "http_port must be at least 1, not 0"),
        (Settings(https_port=65536), "https_port must be at most 65535, not 65536"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_what_cannot_work_is_refused_with_the_rule(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        check_settings(settings)


def test_the_least_value_can_be_another_one() -> None:
    with pytest.raises(ConfigurationError, match=r"^workers must be 0 or more, not -1$"):
        check_settings(Settings(workers=-1), {"workers": 0})
    with pytest.raises(ConfigurationError, match=r"^timeout must be 0 or more, not -1 day"):
        check_settings(Settings(timeout=timedelta(seconds=-1)), {"timeout": timedelta(0)})
    with pytest.raises(ConfigurationError, match=r"^timeout must be at least 0:00:01, not 0:00:00"):
        check_settings(Settings(timeout=timedelta(milliseconds=5)), shortest=timedelta(seconds=1))
