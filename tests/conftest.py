"""Settings that all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

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
