"""Settings that all tests share."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from ingresskit.testing import pace

pytest_plugins = ["ingresskit.testing.plugin"]

# Bounded in number, not in time: a busy machine must not fail a test.
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# For a deeper search by hand: HYPOTHESIS_PROFILE=deep pytest tests/properties
settings.register_profile("deep", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds options for ``tests/dataplane``; pytest takes those of the outermost conftest only."""
    parser.addoption(
        "--changes", type=int, default=100, help="how many changes are made to each proxy under load"
    )
    parser.addoption(
        "--kills", type=int, default=6, help="at how many steps of a change the controller is killed"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give each test as much more time as the machine is slower just now. pytest-timeout reads it next."""
    marker = item.get_closest_marker("timeout")
    chosen = item.config.getoption("timeout")
    if marker is not None and len(marker.args) == 1 and not marker.kwargs:
        item.add_marker(pytest.mark.timeout(pace.within(float(marker.args[0]))), append=False)
    elif marker is None and chosen is None:
        item.add_marker(pytest.mark.timeout(pace.within(float(item.config.getini("timeout")))))
    return (yield)
