"""Variants of a path and regular expressions, through the delegate of programs that cannot match them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.nginx_plane import NGINX_STATIC

# The same tests on other planes: the fixture of this module is the one that they find.
from tests.dataplane.test_selections import *  # noqa: F403

pytestmark = pytest.mark.anyio


@pytest.fixture(  # type: ignore[no-redef]
    scope="module",
    params=[
        pytest.param(kind.name, marks=[pytest.mark.skip(reason=kind.missing)] if kind.missing else [])
        for kind in (HAPROXY, NGINX_STATIC)
    ],
)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param == NGINX_STATIC.name:
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (haproxy, _, _):
            yield haproxy
