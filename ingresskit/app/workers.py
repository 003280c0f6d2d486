"""The plane of the in-process proxy in several worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from typing_extensions import override

from ingresskit import InProcessRenderer
from ingresskit.app.failures import CannotListen
from ingresskit.app.flags import Address
from ingresskit.app.inprocess import InProcessPlane, proxy_settings
from ingresskit.app.planes import Setting, Taken
from ingresskit.app.worker import worker_program
from ingresskit.apply.workers import (
    ListeningAddress,
    ListeningSockets,
    Takeover,
    TakeoverPoint,
    WorkerOptions,
    WorkerPool,
    WorkersApplier,
)
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.errors import ApplyError
from ingresskit.facts import fact_logger
from ingresskit.sources import Source
from ingresskit.traffic import Measured

if TYPE_CHECKING:
    from ingresskit.app.planes import AnyController

__all__ = ["WorkersPlane", "worker_count"]

_logger = fact_logger(__name__)


def _drain_this() -> None:
    _logger.info("another controller has taken the ports over")
    signal.raise_signal(signal.SIGTERM)


def worker_count(wanted: int | None) -> int:
    """How many workers there are to be; ``None`` is one for each core that this process may use."""
    return min(64, len(os.sched_getaffinity(0))) if wanted is None else wanted


class WorkersPlane(InProcessPlane):
    """The proxy in worker processes; this process carries no traffic."""

    def __init__(self, setting: Setting, count: int) -> None:
        super().__init__(setting)
        flags, log = setting.flags, setting.access_log
        self._count = count
        self._tasks: TaskGroup | None = None
        self._takeover_path = setting.state.absolute() / "takeover.sock"
        self._pool = WorkerPool(
            replace(proxy_settings(setting), access_log=None, processes=count),
            options=WorkerOptions(count=count, drain_grace=timedelta(seconds=max(1.0, flags.shutdown_grace))),
            argv=worker_program(flags.log_format, flags.log_level),
            access_log=log.record if log else None,
            records_dropped=log.drop if log else None,
        )

    @override
    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=InProcessRenderer(effects=self._setting.effects, affinity_key=self._setting.affinity_key),
            applier=WorkersApplier(self._pool),
            options=self._setting.options,
            settings=settings,
            claims=self._setting.claims,
        )

    @override
    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[object]:
        async with self._pool, anyio.create_task_group() as tasks:
            self._tasks = tasks
            yield self._pool
            tasks.cancel_scope.cancel()

    @override
    async def listen(self) -> Taken:
        flags = self._setting.flags
        # TLS first: once its port is known, plain HTTP is redirected there.
        wanted = [("--https", flags.https, True), ("--http", flags.http, False)]
        asked = [(flag, one, tls) for flag, one, tls in wanted if one is not None]
        addresses = [ListeningAddress(one.host, one.port, tls) for _, one, tls in asked]
        try:
            takeover = await Takeover.begin(self._takeover_path) if flags.takeover else None
        except ApplyError as exc:
            raise CannotListen(f"--takeover: {exc}") from None
        taken = None if takeover is None else takeover.sockets
        try:
            sockets = await ListeningSockets.open(addresses, self._count, taken=taken)
        except OSError as exc:
            flag, address, _ = asked[int(exc.filename)]
            raise CannotListen(f"{flag}: cannot listen at {address}: {exc.strerror}") from None
        found = {address.tls: Address(address.host, address.port) for address in sockets.addresses}
        try:
            await self._pool.listen(sockets)
        except ApplyError as exc:
            raise CannotListen(str(exc)) from None
        if takeover is not None:
            await takeover.confirm()
            _logger.info("ports taken over from the controller before this one")
        if flags.takeover and self._tasks is not None:
            self._tasks.start_soon(TakeoverPoint(self._takeover_path).run, sockets, _drain_this)
        return Taken(http=found.get(False), https=found.get(True))

    @override
    async def drain(self, grace: timedelta) -> None:
        await self._pool.drain(grace)

    @override
    async def renew(self) -> None:
        await self._pool.renew()

    @override
    def hindrance(self) -> str:
        return self._pool.problem

    @override
    def statistics(self) -> Measured:
        return self._pool.statistics()
