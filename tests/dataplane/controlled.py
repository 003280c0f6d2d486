"""A controller in a process of its own as a test sees it, and what its proxy answers meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from ingresskit.testing import pace
from ingresskit.testing.traffic import look_at
from tests.dataplane.controller_process import Plan
from tests.dataplane.worlds import STEADY, numbered

SECONDS = pace.within(30)
"""How long anything here may take before it counts as never."""

Event = Mapping[str, Any]


@dataclass(slots=True)
class Controlled:
    """A controller that runs, or ran."""

    plan: Plan
    process: anyio.abc.Process
    events: list[Event]
    news: anyio.Event

    async def tell(self, **command: object) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(command).encode() + b"\n")

    async def wait(self, right: Callable[[Event], bool], *, seconds: float = SECONDS) -> Event:
        """The first event from now on, or unseen before, that is *right*."""
        seen = 0
        with anyio.fail_after(seconds):
            while True:
                for event in self.events[seen:]:
                    seen += 1
                    if right(event):
                        del self.events[:seen]
                        return event
                if self.process.returncode is not None and seen == len(self.events):
                    last = self.events[-1:]
                    raise AssertionError(f"the controller ended with {self.process.returncode}: {last}")
                await self.news.wait()

    async def wait_applied(self, *, seconds: float = SECONDS) -> Event:
        """The next pass that went live."""
        return await self.wait(lambda event: event["event"] == "apply" and bool(event["ok"]), seconds=seconds)

    async def wait_failed(self, *, seconds: float = SECONDS) -> Event:
        """The next pass that failed."""
        return await self.wait(lambda event: event["event"] == "apply" and not event["ok"], seconds=seconds)

    async def serve(self, state: int) -> Event:
        """Have *state* served; returns once it is."""
        await self.tell(serve=state)
        replaced = await self.wait(lambda event: event["event"] == "replaced")
        return await self.wait(
            lambda event: (
                event["event"] == "apply" and event["ok"] and event["revision"] >= replaced["revision"]
            )
        )

    async def kill(self) -> None:
        """Kill it alone; its proxy lives on."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def ended(self) -> int:
        with anyio.fail_after(SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def controller(plan: Plan) -> AsyncGenerator[Controlled]:
    """Run a controller; at the end it is asked to stop, with its proxy, unless it has ended before."""
    command = [sys.executable, "-m", "tests.dataplane.controller_process", plan.to_json()]
    process = await anyio.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    made = Controlled(plan, process, [], anyio.Event())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, made)
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                if process.stdin is not None:
                    await process.stdin.aclose()
                with anyio.move_on_after(SECONDS):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            tasks.cancel_scope.cancel()
    await process.aclose()


async def _read(made: Controlled) -> None:
    assert made.process.stdout is not None
    lines = BufferedByteReceiveStream(made.process.stdout)
    try:
        while True:
            made.events.append(cast("Event", json.loads(await lines.receive_until(b"\n", 1 << 20))))
            _wake(made)
    except (anyio.IncompleteRead, anyio.EndOfStream, anyio.ClosedResourceError):
        await made.process.wait()
        _wake(made)


def _wake(made: Controlled) -> None:
    made.news.set()
    made.news = anyio.Event()


async def status(plan: Plan, host: str) -> int:
    """What the proxy answers to a request for *host*: a status, 0 when it closes, -1 when it takes none."""
    try:
        return (await look_at(host, plan.http)).status
    except OSError:
        return -1


async def served(plan: Plan, *states: int) -> list[int]:
    """Which of *states* the proxy serves."""
    return [state for state in states if await status(plan, numbered(state)) == 200]


async def until_served(plan: Plan, state: int, *, seconds: float = SECONDS) -> None:
    """Wait until the proxy serves *state*; nobody tells when it restarts by itself."""
    with anyio.fail_after(seconds):
        while await status(plan, numbered(state)) != 200:  # noqa: ASYNC110 - the proxy tells no event
            await anyio.sleep(0.05)


async def steady(plan: Plan) -> int:
    """What the proxy answers to what is served in every state."""
    return await status(plan, STEADY)


def at(plan: Plan, state: int) -> Plan:
    """The same, to begin with another state."""
    return replace(plan, state=state)
