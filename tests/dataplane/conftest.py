"""One running proxy of each kind for a whole file of tests; each test puts its own graph into it."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import pytest
from _pytest.mark import ParameterSet

from ingresskit.policies.values import Network
from ingresskit.testing.planes import Plane, PlaneSettings, free_port, state_folder
from ingresskit.testing.traffic import Endpoints, open_endpoints
from tests.dataplane.controller_process import Plan
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.faults_scene import end_all_below
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.kind import Kind
from tests.dataplane.planes import KINDS
from tests.dataplane.stage import Stage

TRUSTED: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))


def _parameter(kind: Kind) -> ParameterSet:
    skipped = [pytest.mark.skip(reason=kind.missing)] if kind.missing else []
    return pytest.param(kind.name, id=kind.name, marks=skipped)


EVERY_PLANE = [_parameter(kind) for kind in KINDS.values()]
EXTERNAL = [_parameter(kind) for kind in KINDS.values() if kind.program or kind.missing]
"""Those that are programs of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect what a kind of proxy is known not to do to fail."""
    for item in items:
        for kind in KINDS.values():
            name = item.name.replace(f"[{kind.name}-", "[").removesuffix(f"[{kind.name}]")
            if name != item.name and (reason := kind.differences.get(name)):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session")
def kills_wanted(pytestconfig: pytest.Config) -> int:
    """At how many steps of a change the controller is killed: ``pytest tests/dataplane --kills 1000``."""
    return int(pytestconfig.getoption("--kills") or 0)


@pytest.fixture(scope="session")
def changes_wanted(pytestconfig: pytest.Config) -> int:
    """How many changes a run under load makes: ``pytest tests/dataplane --changes 1000``."""
    return int(pytestconfig.getoption("--changes") or 0)


@pytest.fixture(scope="session")
def whole_wanted(changes_wanted: int) -> bool:
    """Whether what takes long runs too, such as the programs of others: from ``--changes 1000`` on."""
    return changes_wanted >= 1000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(
    name: str, *, trusted_proxies: tuple[Network, ...] = (), proxy_protocol: bool = False
) -> AsyncGenerator[Plane]:
    with state_folder() as folder:
        settings = PlaneSettings(
            state_dir=folder, trusted_proxies=trusted_proxies, proxy_protocol=proxy_protocol
        )
        async with KINDS[name].open(settings) as plane:
            yield plane


@asynccontextmanager
async def opened_with_delegate(name: str) -> AsyncGenerator[Plane]:
    """As `opened`, HAProxy with its delegate too."""
    if name != HAPROXY.name:
        async with opened(name) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


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


@pytest.fixture(scope="module")
async def endpoints(anyio_backend: str) -> AsyncGenerator[Endpoints]:
    async with open_endpoints(2) as opened:
        yield opened


@pytest.fixture(params=EXTERNAL)
def plan(request: pytest.FixtureRequest, endpoints: Endpoints) -> Generator[Plan]:
    """State 0 of the world, behind each proxy that is a program; its processes are ended in the end."""
    with state_folder() as folder:
        yield Plan(
            plane=request.param,
            state_dir=str(folder / "state"),
            http=("127.0.0.1", free_port()),
            https=("127.0.0.1", free_port()),
            ports=endpoints.ports,
            state=0,
        )
        end_all_below(folder)
