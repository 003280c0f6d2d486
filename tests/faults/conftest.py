"""Histories run on the embedded API server and, where its binaries are, on the real one."""

from __future__ import annotations

from ingresskit.testing.apiserver.plugin import (
    api_server,
    pytest_generate_tests,
    pytest_terminal_summary,
    real_server,
)

__all__ = ["api_server", "pytest_generate_tests", "pytest_terminal_summary", "real_server"]
