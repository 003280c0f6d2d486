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

__all__ = ["api_namespace", "api_server", "pytest_generate_tests", "pytest_terminal_summary", "real_server"]

# What needs kubectl is not there where kubectl is not.
collect_ignore = [] if shutil.which("kubectl") else ["test_kubectl.py"]
