"""One running proxy of each kind for a whole file of tests; each test puts its own graph into it."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ingresskit.policies.values import Network
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.planes import MISSING, PLANES
from tests.dataplane.stage import Stage

TRUSTED: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
EVERY_PLANE = [
    *(pytest.param(name, id=name) for name in PLANES),
    *(pytest.param(name, id=name, marks=pytest.mark.skip(reason=reason)) for name, reason in MISSING.items()),
]


@asynccontextmanager
async def opened(
    name: str, *, trusted_proxies: tuple[Network, ...] = (), proxy_protocol: bool = False
) -> AsyncGenerator[Plane]:
    with state_folder() as folder:
        settings = PlaneSettings(
            state_dir=folder, trusted_proxies=trusted_proxies, proxy_protocol=proxy_protocol
        )
        async with PLANES[name](settings) as plane:
            yield plane


@pytest.fixture(scope="session")
def changes_wanted(pytestconfig: pytest.Config) -> int:
    """How many changes a run under load makes: ``pytest tests/dataplane --changes 1000``."""
    return int(pytestconfig.getoption("--changes") or 0)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


@pytest.fixture
async def stage(plane: Plane) -> AsyncGenerator[Stage]:
    async with Stage(plane) as made:
        yield made


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def trusting_plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    """As ``plane``; believes proxies of this machine and of 10.0.0.0/8."""
    async with opened(request.param, trusted_proxies=TRUSTED) as made:
        yield made


@pytest.fixture
async def trusting_stage(trusting_plane: Plane) -> AsyncGenerator[Stage]:
    async with Stage(trusting_plane) as made:
        yield made


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def balanced_plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    """As ``trusting_plane``; those proxies open with a PROXY protocol header."""
    async with opened(request.param, trusted_proxies=TRUSTED, proxy_protocol=True) as made:
        yield made


@pytest.fixture
async def balanced_stage(balanced_plane: Plane) -> AsyncGenerator[Stage]:
    async with Stage(balanced_plane) as made:
        yield made
