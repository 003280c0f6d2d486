"""Servers for the tests of the server."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from ingresskit.testing.apiserver import ApiServer


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread(bookmark_seconds=0.2) as running:
        yield running
