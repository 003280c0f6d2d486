"""Routes that move between HAProxy and its delegate under constant traffic: no request meets half of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from ingresskit.testing import ingress, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import HOST, Stage, slices
from tests.unit.proxy.conftest import Seen, Wire, get, reply

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(HAPROXY.missing), reason=HAPROXY.missing or "there"),
]

_CLIENTS = 4
_LEAST_CHANGES = 200


@contextlib.asynccontextmanager
async def opened(*, everything: bool) -> AsyncGenerator[Stage]:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        delegated = open_delegated_haproxy(settings, program=PROGRAM, everything=everything)
        async with delegated as (plane, _, _), Stage(plane) as stage:
            yield stage


@contextlib.asynccontextmanager
async def traffic(stage: Stage, ask: Callable[[Wire], Awaitable[None]]) -> AsyncGenerator[list[int]]:
    """Clients that call *ask* again and again; what it raises ends the test. The list has a count for each."""
    counts = [0] * _CLIENTS

    async def client(number: int) -> None:
        wire = await stage.connect()
        while True:
            await ask(wire)
            counts[number] += 1

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(client(number)) for number in range(_CLIENTS)]
        yield counts
        for item in clients:
            item.cancel()


async def serve(plane: Plane, port: int, annotations: dict[str, str]) -> None:
    await Stage(plane).serve_objects(
        ingress("web", {HOST: {"/": "web"}}, annotations=annotations), service("web"), *slices("web", [port])
    )


async def test_policies_of_a_route_apply_all_or_none_while_it_moves(changes_wanted: int) -> None:
    async with opened(everything=True) as stage:

        async def answer(request: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(fields=[f"X-Seen: {request.value('x-tenant')}"]))

        endpoint = await stage.endpoint(answer)
        native: dict[str, str] = {}
        delegated = {"request-headers-set": "X-Tenant: shop", "response-headers-set": "X-Outer: shop"}
        seen: set[str | None] = set()

        async def ask(wire: Wire) -> None:
            response = await wire.ask(get())
            assert response.status == 200
            assert response.value("x-seen") == str(response.value("x-outer"))
            seen.add(response.value("x-outer"))

        await serve(stage.plane, endpoint.port, delegated)
        async with traffic(stage, ask) as counts:
            for number in range(max(changes_wanted, _LEAST_CHANGES)):
                await serve(stage.plane, endpoint.port, delegated if number % 2 else native)

        assert seen == {None, "shop"}
        assert min(counts) > 0


async def test_a_body_limit_is_never_missing_while_its_route_moves(changes_wanted: int) -> None:
    async with opened(everything=False) as stage:
        endpoint = await stage.endpoint()
        over = get(method="POST", fields=["Transfer-Encoding: chunked"]) + b"1f40\r\n%b\r\n0\r\n\r\n" % (
            b"x" * 8000
        )
        fits = get(method="POST", fields=["Transfer-Encoding: chunked"]) + b"7d0\r\n%b\r\n0\r\n\r\n" % (
            b"x" * 2000
        )

        async def ask(wire: Wire) -> None:
            assert (await wire.ask(fits)).status == 200
            async with contextlib.AsyncExitStack() as stack:
                other = await stage.connect()
                stack.push_async_callback(other.close)
                assert (await other.ask(over)).status == 413

        await serve(stage.plane, endpoint.port, {"body-limit": "6000"})
        async with traffic(stage, ask) as counts:
            for number in range(max(changes_wanted, _LEAST_CHANGES)):
                # HAProxy counts up to 4 KiB by itself.
                limit = "6000" if number % 2 else "3000"
                await serve(stage.plane, endpoint.port, {"body-limit": limit})

        assert min(counts) > 0
        assert all(len(request.body) == 2000 for request in endpoint.seen if request.body)
