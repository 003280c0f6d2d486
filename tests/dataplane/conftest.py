"""One running proxy of each kind for a whole file of tests; each test puts its own graph into it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.planes import MISSING, PLANES

EVERY_PLANE = [
    *(pytest.param(name, id=name) for name in PLANES),
    *(pytest.param(name, id=name, marks=pytest.mark.skip(reason=reason)) for name, reason in MISSING.items()),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    with state_folder() as folder:
        async with PLANES[request.param](PlaneSettings(state_dir=folder)) as opened:
            yield opened
