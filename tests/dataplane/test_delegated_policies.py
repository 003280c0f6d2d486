"""Every policy through the delegate: the program is made to believe that it can do none of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from ingresskit.render.nginx import Mode
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.delegated import all_delegated, is_delegate, open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.kind import Kind
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, open_delegated_nginx

# The same tests on another plane: the fixture of this module is the one that they find.
from tests.dataplane.test_endpoint_faults import *  # noqa: F403
from tests.dataplane.test_forwarding import *  # noqa: F403
from tests.dataplane.test_policies import *  # noqa: F403
from tests.dataplane.test_strictness import *  # noqa: F403
from tests.dataplane.test_tunnels import *  # noqa: F403
from tests.dataplane.test_wire_edges import *  # noqa: F403

pytestmark = pytest.mark.anyio


def _unless_missing(kind: Kind) -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(kind.missing), reason=kind.missing or "there")


@pytest.fixture(
    scope="module",
    params=[
        # What HAProxy cannot do, its delegate does: the differences of that kind are none here.
        pytest.param(HAPROXY, id="delegate-of-haproxy", marks=_unless_missing(HAPROXY)),
        pytest.param(NGINX_DYNAMIC, id=NGINX_DYNAMIC.name, marks=_unless_missing(NGINX_DYNAMIC)),
    ],
)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        if request.param is NGINX_DYNAMIC:
            async with open_delegated_nginx(settings, Mode.DYNAMIC, front=all_delegated) as made:
                yield made
                assert any(map(is_delegate, made.pids())), "no test needed the delegate"
            return
        async with open_delegated_haproxy(settings, program=PROGRAM, everything=True) as (made, delegate, _):
            yield made
            assert delegate.counts().requests, "no test made the delegate serve anything"
