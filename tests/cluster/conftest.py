"""Tests on the embedded API server and, where its binaries are, on the real one."""

from __future__ import annotations

import shutil

from ingresskit.testing.apiserver.plugin import (
    api_namespace,
    api_server,
    pytest_generate_tests,
    pytest_terminal_summary,
    real_server,
)
from ingresskit.testing.apiserver.real import assets_folder

__all__ = [
    "api_namespace",
    "api_server",
    "pytest_generate_tests",
    "pytest_terminal_summary",
    "real_server",
]

# What needs kubectl, or the real server, is not there where they are not.
collect_ignore = [] if shutil.which("kubectl") else ["test_kubectl.py", "test_deployed.py"]
collect_ignore += [] if assets_folder() else ["test_deployed.py", "test_real_troubles.py"]
