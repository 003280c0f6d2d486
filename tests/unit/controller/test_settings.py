from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from ingresskit.controller import ControllerSettings
from ingresskit.controller.admin import AdminSettings
from ingresskit.errors import ConfigurationError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"settle_quiet": timedelta(-1)}, "settle_quiet must be 0 or more", id="negative quiet"),
        pytest.param(
            {"apply_timeout": timedelta(0)}, "apply_timeout must be more than zero", id="no time to apply"
        ),
        pytest.param(
            {"settle_quiet": timedelta(seconds=1)}, "settle_ceiling .* is below", id="ceiling below quiet"
        ),
        pytest.param(
            {"retry_first": timedelta(minutes=1)}, "retry_ceiling .* is below", id="ceiling below first"
        ),
        pytest.param({"event_buffer": 0}, "event_buffer must be at least 1", id="no buffer"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ControllerSettings(**values)


def test_batching_can_be_turned_off() -> None:
    assert ControllerSettings(settle_quiet=timedelta(0), settle_ceiling=timedelta(0)).settle_quiet == timedelta(
        0
    )


@pytest.mark.parametrize(
    "values", [{"max_connections": 0}, {"head_timeout": timedelta(0)}, {"heartbeat": timedelta(-1)}], ids=repr
)
def test_limits_of_the_admin_server_are_positive(values: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"must be (at least 1|more than zero)"):
        AdminSettings(**values)
