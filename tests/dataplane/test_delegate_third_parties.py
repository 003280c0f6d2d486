"""A policy that no program has a handler for does the same behind all of them: the delegate has its effect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from ingresskit.models import Snapshot
from ingresskit.policies import default_policies
from ingresskit.render.nginx import Mode
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.delegated import is_delegate, open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.kind import Kind
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.dataplane.teapots import EFFECTS, Teapot
from tests.unit.proxy.conftest import get

pytestmark = pytest.mark.anyio

Open = Callable[[PlaneSettings], AbstractAsyncContextManager[Plane]]


@asynccontextmanager
async def _haproxy(settings: PlaneSettings) -> AsyncGenerator[Plane]:
    async with open_delegated_haproxy(settings, program=PROGRAM, effects=EFFECTS) as (plane, _, _):
        yield plane


def _nginx(mode: Mode) -> Open:
    return lambda settings: open_delegated_nginx(settings, mode, effects=EFFECTS)


def _case(kind: Kind, opened: Open) -> ParameterSet:
    missing = pytest.mark.skipif(bool(kind.missing), reason=kind.missing or "there")
    return pytest.param(opened, id=kind.name, marks=missing)


@pytest.mark.parametrize(
    "opened",
    [
        _case(HAPROXY, _haproxy),
        _case(NGINX_STATIC, _nginx(Mode.STATIC)),
        _case(NGINX_DYNAMIC, _nginx(Mode.DYNAMIC)),
    ],
)
async def test_policy_without_a_handler_is_the_delegates(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a package that is installed: the delegate imports the policy's module by its name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    options = TranslateOptions(policies=default_policies(Teapot), destinations=OPTIONS.destinations)
    with state_folder() as folder:
        async with opened(PlaneSettings(state_dir=folder)) as plane, Stage(plane) as stage:
            endpoint = await stage.endpoint()
            objects = [
                ingress_class(),
                ingress(
                    "pot", {HOST: {"/": "web"}}, annotations={"teapot": "true", "request-headers-set": "X-A: 1"}
                ),
                ingress("other", {"other.example": {"/": "web"}}),
                service("web"),
                *slices("web", [endpoint.port]),
            ]
            result = translate(Snapshot.of(objects), options)
            await plane.serve(result.graph)
            wire = await stage.connect()

            refused = await wire.ask(get("/coffee"))
            served = await wire.ask(get("/tea"))
            other = await wire.ask(get("/coffee", host="other.example"))

            assert result.diagnostics == ()
            assert (refused.status, served.status, other.status) == (418, 200, 200)
            assert [request.values("x-a") for request in endpoint.seen] == [["1"], []]
            assert any(map(is_delegate, plane.pids()))
