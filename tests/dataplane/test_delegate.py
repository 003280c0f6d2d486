"""HAProxy with a delegate: what it cannot do exactly, its routes get all the same."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
import pytest

from ingresskit.apply.delegate import Delegate
from ingresskit.graph import Backend, BackendKey, Endpoint, PathMatch, RouteGraph
from ingresskit.policies import HeaderCondition, Selection
from ingresskit.testing import ingress, pace, service, tls_secret
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.delegated import chunked, open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import HOST, Stage, slices
from tests.unit.graph.graphs import forward, host, route
from tests.unit.proxy.conftest import Answer, Wire, get, reply
from tests.unit.render.haproxy import http2

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(HAPROXY.missing), reason=HAPROXY.missing or "there"),
]

LIMIT = 100_000
DEADLINE = pace.within(60.0)


class Scene:
    """A stage in front of a plane with a delegate."""

    def __init__(self, plane: Plane, delegate: Delegate) -> None:
        self.stage = Stage(plane)
        self.delegate = delegate


@pytest.fixture(scope="module")
async def opened(anyio_backend: str) -> AsyncGenerator[tuple[Plane, Delegate]]:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (plane, delegate, _):
            yield plane, delegate


@pytest.fixture
async def scene(opened: tuple[Plane, Delegate]) -> AsyncGenerator[Scene]:
    scene = Scene(*opened)
    async with scene.stage:
        yield scene


async def post(wire: Wire, size: int) -> Answer:
    return await wire.ask(chunked(size))


async def test_body_of_unknown_length_passes_up_to_the_limit(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    await scene.stage.serve(endpoint, annotations={"body-limit": str(LIMIT)})
    wire = await scene.stage.connect()

    answer = await post(wire, LIMIT)

    assert (answer.status, len(endpoint.seen[0].body)) == (200, LIMIT)
    assert (await post(await scene.stage.connect(), LIMIT + 1)).status == 413


async def test_other_requests_of_the_route_do_not_pass_the_delegate(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    await scene.stage.serve(endpoint, annotations={"body-limit": str(LIMIT)})
    pid = scene.delegate.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        wire = await scene.stage.connect()
        body = b"x" * LIMIT

        assert (await wire.ask(get())).status == 200
        known = get(method="POST", fields=[f"Content-Length: {LIMIT}"]) + body
        assert (await wire.ask(known)).status == 200
        over = get(method="POST", fields=[f"Content-Length: {LIMIT + 1}"])
        assert (await wire.ask(over)).status == 413
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_policies_of_the_route_hold_for_what_the_delegate_serves(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    annotations = {
        "body-limit": str(LIMIT),
        "request-headers-set": "X-Tenant: shop",
        "response-headers-set": "X-Outer: 1",
    }
    await scene.stage.serve(endpoint, annotations=annotations)
    wire = await scene.stage.connect()

    answer = await post(wire, 50_000)

    assert (answer.status, answer.values("x-outer")) == (200, ["1"])
    assert endpoint.seen[0].values("x-tenant") == ["shop"]
    assert endpoint.seen[0].values("ingresskit-delegate") == []
    assert endpoint.seen[0].values("x-forwarded-for") == ["127.0.0.1"]
    assert endpoint.seen[0].values("x-forwarded-proto") == ["http"]


async def test_client_cannot_speak_in_the_name_of_haproxy(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    refused, served = {"body-limit": str(LIMIT), "allow-sources": "192.0.2.0/24"}, {"body-limit": str(LIMIT)}
    lie = "Ingresskit-Delegate: 1 192.0.2.1 http 0 80 " + HOST + " Prefix /"
    await scene.stage.serve(endpoint, annotations=refused)
    request = chunked(10_000).replace(b"Host:", lie.encode() + b"\r\nHost:")

    assert (await (await scene.stage.connect()).ask(request)).status == 403
    await scene.stage.serve(endpoint, annotations=served)
    assert (await (await scene.stage.connect()).ask(request)).status == 200
    assert endpoint.seen[0].values("x-real-ip") == ["127.0.0.1"]


async def test_endpoint_cannot_speak_in_the_name_of_anybody(scene: Scene) -> None:
    lie = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nIngresskit-Delegate: 1 192.0.2.1 http 0 80 * Prefix /\r\n\r\n"
    )
    endpoint = await scene.stage.endpoint(lie)
    await scene.stage.serve(endpoint, annotations={"body-limit": str(LIMIT)})
    wire = await scene.stage.connect()

    assert (await post(wire, 10_000)).status == 200
    assert (await post(wire, LIMIT + 1)).status == 413


async def test_routes_of_a_delegate_that_is_killed_answer_503_and_no_others(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    await scene.stage.serve(endpoint, annotations={"body-limit": str(LIMIT)})
    pid = scene.delegate.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async with asyncio.timeout(DEADLINE):
        statuses = [(await post(await scene.stage.connect(), 10_000)).status]
        while statuses[-1] != 200:
            assert (await (await scene.stage.connect()).ask(get())).status == 200
            statuses.append((await post(await scene.stage.connect(), 10_000)).status)
    assert set(statuses) <= {200, 502, 503}
    assert (await post(await scene.stage.connect(), LIMIT + 1)).status == 413


async def test_clients_of_http_2_reach_the_delegate(scene: Scene) -> None:
    endpoint = await scene.stage.endpoint()
    assert scene.stage.plane.https is not None
    port = scene.stage.plane.https[1]
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
    statuses: list[int] = []
    for limit in (16_000, 15_999):
        await scene.stage.serve_objects(
            ingress("web", {HOST: {"/": "web"}}, annotations={"body-limit": str(limit)}, tls={"cert": [HOST]}),
            service("web"),
            tls_secret(HOST, name="cert"),
            *slices("web", [endpoint.port]),
        )
        ask = partial(http2.ask, port, fields, body=b"x" * 16_000, server_name=HOST)
        statuses.append((await anyio.to_thread.run_sync(ask))[0])

    assert statuses == [200, 413]
    assert endpoint.seen[0].values("x-forwarded-proto") == ["https"]
    assert endpoint.seen[0].values("x-forwarded-port") == ["443"]


async def test_variants_and_patterns_of_a_host_are_matched_by_the_delegate(scene: Scene) -> None:
    main, canary, numbers = [await scene.stage.endpoint(reply(fields=[f"X-From: {name}"])) for name in NAMES]
    keys = {name: BackendKey("default", name, 80) for name in NAMES}
    ports: dict[str, int] = dict(zip(NAMES, (main.port, canary.port, numbers.port), strict=True))
    by_header = Selection(conditions=(HeaderCondition(name="x-canary"),))
    odd = [
        replace(route("Prefix /", action=forward(keys["canary"]), name="canary"), selection=by_header),
        route("Prefix /", action=forward(keys["main"]), name="main"),
        replace(
            route("Prefix /", action=forward(keys["numbers"]), name="numbers"),
            match=PathMatch.regex("/[0-9]+$"),
        ),
    ]
    graph = RouteGraph(
        virtual_hosts=(host(HOST, *odd),),
        backends={
            key: Backend(key=key, endpoints=(Endpoint(address="127.0.0.1", port=ports[name]),))
            for name, key in keys.items()
        },
    )
    await scene.stage.plane.serve(graph)
    wire = await scene.stage.connect()

    asked = [get("/x"), get("/x", fields=["X-Canary: 1"]), get("/42"), get("/42x")]
    answers = [await wire.ask(request) for request in asked]

    assert [answer.value("x-from") for answer in answers] == ["main", "canary", "numbers", "main"]


NAMES = ("main", "canary", "numbers")
