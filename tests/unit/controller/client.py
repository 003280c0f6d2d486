"""A small HTTP client, and an admin server over objects, for tests on either event loop."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.abc
import h11

from ingresskit.apply import InProcessApplier
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.controller.admin import AdminServer, AdminSettings
from ingresskit.controller.planes import StatisticsSource
from ingresskit.models import KubeObject
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.sources import MemorySource
from ingresskit.translate import TranslateOptions
from tests.unit.controller.doubles import DEADLINE, QUICK

__all__ = ["Admin", "Holder", "Reply", "admin_over", "exchange"]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - what a test expects it to be
        return json.loads(self.body)


@dataclass
class Holder:
    """Stands in for a proxy: keeps the tables it is given."""

    tables: list[RoutingTable] = field(default_factory=list[RoutingTable])

    def swap(self, table: RoutingTable) -> None:
        self.tables.append(table)


@dataclass(frozen=True)
class Admin:
    """An admin server that listens, the controller behind it and the source behind that."""

    source: MemorySource
    controller: Controller[RoutingTable]
    server: AdminServer
    address: tuple[str, int]

    async def get(self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Reply:
        return await exchange(self.address, target, method=method, headers=headers)

    async def live(self) -> None:
        """Return once what the source holds is live."""
        snapshot = self.source.snapshot()
        assert snapshot is not None
        await self.controller.wait_applied(snapshot.revision)


@asynccontextmanager
async def admin_over(
    *objects: KubeObject,
    settings: AdminSettings | None = None,
    controller_settings: ControllerSettings = QUICK,
    planes: Mapping[str, StatisticsSource] | None = None,
    host: str = "127.0.0.1",
    start: bool = True,
    deadline: float = DEADLINE,
    options: TranslateOptions | None = None,
    renderer: InProcessRenderer | None = None,
) -> AsyncGenerator[Admin]:
    """A controller over *objects* (running and live unless *start* is false) with an admin server."""
    source = MemorySource(objects)
    controller = Controller(
        source=source,
        renderer=renderer or InProcessRenderer(),
        applier=InProcessApplier(Holder()),
        options=options,
        settings=controller_settings,
    )
    server = AdminServer(controller, host=host, port=0, settings=settings, planes=planes)
    with anyio.fail_after(deadline):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            address = await server.wait_listening()
            admin = Admin(source, controller, server, address)
            if start:
                tasks.start_soon(controller.run)
                await admin.live()
            yield admin
            tasks.cancel_scope.cancel()


async def exchange(
    address: tuple[str, int], target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Reply:
    """Send one request on a connection of its own and read the whole answer."""
    async with await anyio.connect_tcp(*address) as stream:
        http = h11.Connection(h11.CLIENT)
        fields = {"host": f"{address[0]}:{address[1]}", **(headers or {})}
        await stream.send(
            http.send(h11.Request(method=method, target=target, headers=list(fields.items())))
            + http.send(h11.EndOfMessage())
        )
        return await read_reply(stream, http)


async def read_reply(stream: anyio.abc.ByteReceiveStream, http: h11.Connection) -> Reply:
    """The answer to the request that was sent on *http*."""
    reply = Reply(0, {}, b"")
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                try:
                    http.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    http.receive_data(b"")
            case h11.Response() as response:
                fields = {name.decode(): value.decode("latin-1") for name, value in response.headers}
                reply = Reply(response.status_code, fields, b"")
            case h11.Data() as data:
                reply = replace(reply, body=reply.body + bytes(data.data))
            case h11.EndOfMessage():
                return reply
            case other:
                raise AssertionError(f"the server closed the connection: {other}")
