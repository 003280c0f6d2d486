"""nginx with a delegate: it serves what nginx cannot, and nothing else depends on it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator

import pytest

from ingresskit.policies import RequestHeaders, ResponseHeaders
from ingresskit.render import HandlerTable, Renderer
from ingresskit.render.nginx import Mode, NginxArtifact
from ingresskit.testing import ingress, pace, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.delegated import is_delegate
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import HOST, Stage, slices
from tests.unit.proxy.conftest import Answer, Seen, get, reply

pytestmark = pytest.mark.anyio

BEYOND = {"response-headers-set": "Server: shop\nX-Outer: shop", "request-headers-set": "X-Tenant: shop"}
NATIVE: dict[str, str] = {}
OTHER = "other.example"
DEADLINE = pace.within(60.0)
_CHANGES = 20


def _itself(renderer: Renderer[NginxArtifact]) -> Renderer[NginxArtifact]:
    return renderer


def _leaving(renderer: Renderer[NginxArtifact]) -> Renderer[NginxArtifact]:
    """*renderer*, which is made to believe that its program sets no headers: the dynamic mode sets all."""
    known = [
        handler for handler in renderer.handlers if handler.policy not in (RequestHeaders, ResponseHeaders)
    ]
    renderer.handlers = HandlerTable(known).with_delegated((RequestHeaders, ResponseHeaders))
    return renderer


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (mode, front),
            id=kind.name,
            marks=pytest.mark.skipif(bool(kind.missing), reason=kind.missing or "there"),
        )
        for kind, mode, front in (
            (NGINX_STATIC, Mode.STATIC, _itself),
            (NGINX_DYNAMIC, Mode.DYNAMIC, _leaving),
        )
    ],
)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    mode, front = request.param
    with state_folder() as folder:
        async with open_delegated_nginx(PlaneSettings(state_dir=folder), mode, front=front) as made:
            yield made


async def serve(stage: Stage, port: int, annotations: dict[str, str]) -> None:
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "web"}}, annotations=annotations),
        ingress("other", {OTHER: {"/": "web"}}),
        service("web"),
        *slices("web", [port]),
    )


async def ask(stage: Stage, *fields: str, host: str = HOST) -> Answer:
    wire = await stage.connect()
    try:
        return await wire.ask(get(host=host, fields=["Connection: close", *fields]))
    finally:
        await wire.close()


async def test_client_cannot_speak_in_the_name_of_nginx(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint.port, BEYOND)

    answer = await ask(stage, f"Ingresskit-Delegate: 1 192.0.2.1 https 1 443 {OTHER} Prefix /")

    assert (answer.status, answer.values("server")) == (200, ["shop"])
    seen = endpoint.seen[0]
    assert (seen.values("x-real-ip"), seen.values("x-forwarded-proto")) == (["127.0.0.1"], ["http"])
    assert seen.values("ingresskit-delegate") == []


async def test_routes_of_a_delegate_that_is_killed_answer_503_and_no_others(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await serve(stage, endpoint.port, BEYOND)
    assert (await ask(stage)).status == 200
    (delegate,) = filter(is_delegate, stage.plane.pids())
    os.kill(delegate, signal.SIGKILL)

    statuses = [(await ask(stage)).status]
    async with asyncio.timeout(DEADLINE):
        while statuses[-1] != 200:
            assert (await ask(stage, host=OTHER)).status == 200
            statuses.append((await ask(stage)).status)

    assert set(statuses) <= {200, 503}


async def test_policies_of_a_route_apply_all_or_none_while_it_moves(stage: Stage) -> None:
    async def answer(request: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(fields=[f"X-Seen: {request.value('x-tenant')}"]))

    endpoint = await stage.endpoint(answer)
    await serve(stage, endpoint.port, BEYOND)
    seen: set[str | None] = set()

    async def client() -> None:
        while True:
            found = await ask(stage)
            assert found.status == 200
            assert found.value("x-seen") == str(found.value("x-outer"))
            seen.add(found.value("x-outer"))

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(client()) for _ in range(2)]
        for number in range(_CHANGES):
            await serve(stage, endpoint.port, BEYOND if number % 2 else NATIVE)
        for item in clients:
            item.cancel()

    assert seen == {None, "shop"}
