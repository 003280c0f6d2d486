"""Everything is tested on both event loops, with clocks that jump: no test waits for real."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cache.virtual_time import backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return backend(str(request.param))
