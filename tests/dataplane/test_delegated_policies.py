"""Every policy through the delegate: HAProxy is made to believe that it can do none of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM

# The same tests on another plane: the fixture of this module is the one that they find.
from tests.dataplane.test_endpoint_faults import *  # noqa: F403
from tests.dataplane.test_forwarding import *  # noqa: F403
from tests.dataplane.test_policies import *  # noqa: F403
from tests.dataplane.test_strictness import *  # noqa: F403
from tests.dataplane.test_tunnels import *  # noqa: F403
from tests.dataplane.test_wire_edges import *  # noqa: F403

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncGenerator[Plane]:
    if HAPROXY.missing:
        pytest.skip(HAPROXY.missing)
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM, everything=True) as (plane, delegate, _):
            yield plane
            assert delegate.counts().requests, "no test made the delegate serve anything"
