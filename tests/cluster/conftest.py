"""Tests on the embedded API server and, where its binaries are, on the real one."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from ingresskit.testing.apiserver import AnyApiServer, ApiServer
from ingresskit.testing.apiserver.plugin import (
    api_namespace,
    api_server,
    pytest_generate_tests,
    pytest_terminal_summary,
    real_server,
)
from ingresskit.testing.apiserver.real import assets_folder
from ingresskit.testing.plugin import Golden
from tests.cluster.recording import Talk

__all__ = [
    "api_namespace",
    "api_server",
    "pytest_generate_tests",
    "pytest_terminal_summary",
    "real_server",
    "talk",
]

# What needs kubectl, or the real server, is not there where they are not.
collect_ignore = [] if shutil.which("kubectl") else ["test_kubectl.py", "test_deployed.py"]
collect_ignore += [] if assets_folder() else ["test_deployed.py", "test_real_troubles.py"]

_RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def talk(
    api_server: AnyApiServer, api_namespace: str, request: pytest.FixtureRequest, pytestconfig: pytest.Config
) -> Generator[Talk]:
    """A conversation that must go as the recorded one did; ``--update-golden`` records the real server only."""
    conversation = Talk(api_server, api_namespace)
    yield conversation
    update = bool(pytestconfig.getoption("--update-golden")) and not isinstance(api_server, ApiServer)
    name = request.function.__name__.removeprefix("test_")
    Golden(update=update).check(_RECORDED / f"{name}.txt", conversation.text())
