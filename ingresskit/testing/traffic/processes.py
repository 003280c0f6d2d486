"""Starting endpoints and clients, and ending them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from ingresskit.errors import IngressKitError
from ingresskit.testing import pace
from ingresskit.testing.traffic.report import TrafficReport, TrafficSettings

__all__ = ["Endpoints", "Traffic", "open_endpoints", "open_traffic"]

_START_SECONDS = pace.within(30)
_STOP_SECONDS = pace.within(30)
_MAX_LINE = 1 << 20


class _Helper:
    """A process of ours that speaks lines and ends when its input does."""

    def __init__(self, process: anyio.abc.Process) -> None:
        output = process.stdout
        assert output is not None  # noqa: S101 - it was asked for
        self.process = process
        self._lines = BufferedByteReceiveStream(output)

    async def line(self, seconds: float) -> str:
        with anyio.fail_after(seconds):
            try:
                return (await self._lines.receive_until(b"\n", _MAX_LINE)).decode()
            except anyio.IncompleteRead:
                raise IngressKitError("a process of the test kit ended without a word") from None

    async def hang_up(self) -> None:
        if self.process.stdin is not None:
            await self.process.stdin.aclose()


class Endpoints:
    """Endpoints that answer every request with their port. Made by `open_endpoints`.

    Attributes:
        ports: Theirs, on 127.0.0.1; all of them serve until the end.
    """

    def __init__(self, ports: tuple[int, ...]) -> None:
        self.ports = ports


class Traffic:
    """Clients at work. Made by `open_traffic`."""

    def __init__(self, helper: _Helper) -> None:
        self._helper = helper

    async def stop(self) -> TrafficReport:
        """Let every client have the answer that is due, and end; what they saw.

        Raises:
            TimeoutError: They did not end within 30 seconds.
            IngressKitError: They ended before.
        """
        await self._helper.hang_up()
        report = TrafficReport.from_json(await self._helper.line(_STOP_SECONDS))
        await self._helper.process.wait()
        return report


@asynccontextmanager
async def open_endpoints(count: int) -> AsyncGenerator[Endpoints]:
    """Run *count* endpoints in a process of their own for as long as the context is open."""
    async with _helper("endpoint_process", str(count)) as helper:
        ports = cast("list[int]", json.loads(await helper.line(_START_SECONDS)))
        yield Endpoints(tuple(ports))


@asynccontextmanager
async def open_traffic(settings: TrafficSettings) -> AsyncGenerator[Traffic]:
    """Run clients in a process of their own; entered once every one of them has had its first answer.

    Raises:
        TimeoutError: That took more than 30 seconds.
    """
    async with _helper("client_process", settings.to_json()) as helper:
        await helper.line(_START_SECONDS)
        yield Traffic(helper)


@asynccontextmanager
async def _helper(module: str, argument: str) -> AsyncGenerator[_Helper]:
    command = [sys.executable, "-m", f"ingresskit.testing.traffic.{module}", argument]
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    )
    try:
        yield _Helper(process)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.aclose()
